import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type SessionSchema, SignInMethod } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import type { SignInMethod as DomainSignInMethod } from '../../kernel/access.ts';
import type { SessionInfo } from './sessions.ts';

const METHOD_MESSAGES = {
  pwd: SignInMethod.PASSWORD,
  otp: SignInMethod.TOTP,
  recovery: SignInMethod.RECOVERY_CODE,
  mail: SignInMethod.MAILED_CODE,
} satisfies Record<DomainSignInMethod, SignInMethod>;

export function toSessionMessage(session: SessionInfo): MessageInitShape<typeof SessionSchema> {
  return {
    id: session.id,
    userId: session.userId,
    userAgent: session.userAgent,
    address: session.address,
    methods: session.methods.map((method) => METHOD_MESSAGES[method]),
    createTime: timestampFromMs(session.createMs),
    lastUsedTime: timestampFromMs(session.lastUsedMs),
    expireTime: timestampFromMs(session.expireMs),
    current: session.isCurrent,
  };
}
