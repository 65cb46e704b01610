import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import {
  type Revocation as RevocationMessage,
  RevocationSchema,
  type WatchRevocationsResponseSchema,
} from '../../../gen/kith/auth/v1/revocation_service_pb.ts';
import { toRole } from '../../rpc/enums.ts';
import type { Revocation } from './revocations.ts';
import type { RevocationBatch } from './watch-revocations.ts';

export function toBatchMessage({
  revocations,
  isIncomplete,
}: RevocationBatch): MessageInitShape<typeof WatchRevocationsResponseSchema> {
  return { revocations: revocations.map(toRevocationMessage), incomplete: isIncomplete };
}

/** One revocation goes to many watchers: its message is made once. */
const messages = new WeakMap<Revocation, RevocationMessage>();

function toRevocationMessage(revocation: Revocation): RevocationMessage {
  const known = messages.get(revocation);
  if (known !== undefined) return known;
  const { session_id, user_id, role, revision, expire_ms } = revocation;
  const message = create(RevocationSchema, {
    subject:
      session_id !== null
        ? { case: 'sessionId', value: session_id }
        : {
            case: 'user',
            value: {
              userId: user_id,
              role: role === null ? Role.UNSPECIFIED : toRole(role),
              revision: BigInt(revision),
            },
          },
    expireTime: timestampFromMs(expire_ms),
  });
  messages.set(revocation, message);
  return message;
}
