import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { examplesOf, TIME } from '../../test/support/example.ts';

const PAGE_VIEW = { action: 'page.viewed', details: 'Looked at /', attributes: { path: '/' } };

export const activities = examplesOf(ActivityService, {
  async recordUserActivity({ caller, subject }) {
    const { user } = await subject();
    const { accessToken, user: actor } = await caller(Role.EDITOR);
    const recorded = { ...PAGE_VIEW, userId: user.id, actorId: actor.id, eventTime: TIME, recordTime: TIME };
    return {
      accessToken,
      request: { activities: [{ ...PAGE_VIEW, userId: user.id }], requestId: randomUUID() },
      answer: { activities: [{ ...recorded, id: expect.any(String), actorSessionId: expect.any(String) }] },
    };
  },
  async streamUserActivity({ caller, subject }) {
    const { user } = await subject();
    const { accessToken } = await caller(Role.EDITOR);
    return {
      accessToken,
      request: { sequence: 1n, activities: [{ ...PAGE_VIEW, id: randomUUID(), userId: user.id }] },
      answer: {},
    };
  },
  async listUserActivity({ subject }) {
    const { user, accessToken } = await subject();
    return {
      accessToken,
      request: { userId: user.id, actionPrefixes: ['kith'], pageSize: 10 },
      answer: {
        activities: [{ action: 'kith.session.started' }, { action: 'kith.user.created' }],
        nextPageToken: '',
        watchCursor: expect.stringMatching(/./),
      },
    };
  },
});
