import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { InvitationService } from '../../../gen/kith/auth/v1/invitation_service_pb.ts';
import { examplesOf, TIME } from '../../../test/support/example.ts';

export const invitations = examplesOf(InvitationService, {
  async createInvitation({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const email = `${randomUUID()}@example.org`;
    const invitation = { id: expect.any(String), email, role: Role.EDITOR, createTime: TIME, expireTime: TIME };
    return { accessToken, request: { email, role: Role.EDITOR }, answer: { invitation } };
  },
});
