import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Tokens } from './auth.ts';

export function toTokens({ access, refreshToken, refreshExpireMs }: Tokens) {
  return {
    accessToken: access.token,
    accessTokenExpireTime: timestampFromMs(access.expireMs),
    refreshToken,
    refreshTokenExpireTime: timestampFromMs(refreshExpireMs),
  };
}
