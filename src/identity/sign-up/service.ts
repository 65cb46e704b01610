import type { ServiceImpl } from '@connectrpc/connect';
import type { InvitationService } from '../../../gen/kith/auth/v1/invitation_service_pb.ts';
import { callerOf } from '../../rpc/caller.ts';
import { fromRole } from '../../rpc/enums.ts';
import {
  createInvitation,
  type InvitationsApp,
  listInvitations,
  resendInvitation,
  revokeInvitation,
} from './invitations.ts';
import { toInvitationMessage } from './messages.ts';

export function invitationService(app: InvitationsApp): ServiceImpl<typeof InvitationService> {
  return {
    async createInvitation({ email, role }, context) {
      const asked = { email, role: fromRole(role) ?? 'viewer' };
      return { invitation: toInvitationMessage(await createInvitation(app, callerOf(context), asked)) };
    },
    async listInvitations(request, context) {
      const { items, nextPageToken } = await listInvitations(app, callerOf(context), request);
      return { invitations: items.map(toInvitationMessage), nextPageToken };
    },
    async resendInvitation({ invitationId }, context) {
      return { invitation: toInvitationMessage(await resendInvitation(app, callerOf(context), invitationId)) };
    },
    async revokeInvitation({ invitationId }, context) {
      await revokeInvitation(app, callerOf(context), invitationId);
      return {};
    },
  };
}
