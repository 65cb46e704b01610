import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { type Invitation, InvitationService } from '../../../gen/kith/auth/v1/invitation_service_pb.ts';
import { type Cast, examplesOf, TIME } from '../../../test/support/example.ts';

export const invitations = examplesOf(InvitationService, {
  async createInvitation({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const email = `${randomUUID()}@example.org`;
    const invitation = { id: expect.any(String), email, role: Role.EDITOR, createTime: TIME, expireTime: TIME };
    return { accessToken, request: { email, role: Role.EDITOR }, answer: { invitation } };
  },
  async listInvitations(cast) {
    const { id } = await invite(cast);
    return { accessToken: await adminOf(cast), request: { pageSize: 1 }, answer: { invitations: [{ id }] } };
  },
  async resendInvitation(cast) {
    const { id } = await invite(cast);
    return { accessToken: await adminOf(cast), request: { invitationId: id }, answer: { invitation: { id } } };
  },
  async revokeInvitation(cast) {
    const { id: invitationId } = await invite(cast);
    return { accessToken: await adminOf(cast), request: { invitationId }, answer: {} };
  },
});

async function adminOf({ caller }: Cast): Promise<string> {
  return (await caller(Role.ADMIN)).accessToken;
}

/** An invitation to the role that takes no more permission than to invite. */
async function invite({ kith }: Cast): Promise<Invitation> {
  const { accessToken } = await kith.admin();
  const email = `${randomUUID()}@example.org`;
  return (await kith.client(InvitationService, accessToken).createInvitation({ email, role: Role.VIEWER })).invitation!;
}
