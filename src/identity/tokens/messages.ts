import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type SigningKeySchema, SigningKeyState } from '../../../gen/kith/auth/v1/signing_key_service_pb.ts';
import type { KeyState } from './key-schedule.ts';
import type { ScheduledKey } from './rotation.ts';

const STATES = {
  pending: SigningKeyState.PENDING,
  active: SigningKeyState.ACTIVE,
  retired: SigningKeyState.RETIRED,
} satisfies Record<KeyState, SigningKeyState>;

export function toSigningKeyMessage({ key, state, removeMs }: ScheduledKey): MessageInitShape<typeof SigningKeySchema> {
  return {
    kid: key.kid,
    state: STATES[state],
    createTime: timestampFromMs(key.create_ms),
    activateTime: timestampFromMs(Math.max(key.activate_ms, key.create_ms)),
    ...(removeMs !== undefined && { removeTime: timestampFromMs(removeMs) }),
  };
}
