import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type {
  EnrollTotpResponseSchema,
  GetSecondFactorResponseSchema,
} from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import type { SecondFactor, TotpEnrolment } from './second-factor.ts';

export function toSecondFactor({
  totpConfirmMs,
  recoveryCodesLeft,
}: SecondFactor): MessageInitShape<typeof GetSecondFactorResponseSchema> {
  return {
    totpEnabled: totpConfirmMs !== undefined,
    ...(totpConfirmMs === undefined ? {} : { totpConfirmTime: timestampFromMs(totpConfirmMs) }),
    recoveryCodesLeft,
  };
}

export function toEnrolment({
  secret,
  uri,
  expireMs,
}: TotpEnrolment): MessageInitShape<typeof EnrollTotpResponseSchema> {
  return { secret, uri, expireTime: timestampFromMs(expireMs) };
}
