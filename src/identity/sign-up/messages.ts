import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { InvitationSchema } from '../../../gen/kith/auth/v1/invitation_service_pb.ts';
import { toRole } from '../../rpc/enums.ts';
import type { Invitation } from './invitations.ts';

export function toInvitationMessage(invitation: Invitation): MessageInitShape<typeof InvitationSchema> {
  return {
    id: invitation.id,
    email: invitation.email,
    role: toRole(invitation.role),
    createTime: timestampFromMs(invitation.create_ms),
    expireTime: timestampFromMs(invitation.expire_ms),
  };
}
