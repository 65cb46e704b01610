import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { type Label, LabelService } from '../../../gen/kith/contact/v1/label_service_pb.ts';
import { type Cast, ETAG, examplesOf, TIME } from '../../../test/support/example.ts';
import type { SignedIn } from '../../../test/support/kith.ts';

export const labels = examplesOf(LabelService, {
  async createLabel({ caller }) {
    const { accessToken } = await caller();
    const name = newName();
    return {
      accessToken,
      request: { name, color: '#C02040', requestId: randomUUID() },
      answer: {
        label: {
          id: expect.any(String),
          name,
          color: '#c02040',
          contactCount: 0,
          createTime: TIME,
          updateTime: TIME,
          etag: ETAG,
        },
      },
    };
  },
  async listLabels(cast) {
    const { accessToken, label } = await withLabel(cast);
    return {
      accessToken,
      request: { pageSize: 10 },
      answer: { labels: expect.arrayContaining([label]), nextPageToken: '' },
    };
  },
  async updateLabel(cast) {
    const { accessToken, label } = await withLabel(cast);
    const name = newName();
    return {
      accessToken,
      request: { labelId: label.id, etag: label.etag, name, color: '' },
      answer: { label: { id: label.id, name, color: '' } },
    };
  },
  async deleteLabel(cast) {
    const { accessToken, label } = await withLabel(cast);
    return {
      accessToken,
      request: { labelId: label.id, etag: label.etag },
      answer: { label: { id: label.id, deleteTime: TIME, purgeTime: TIME } },
    };
  },
  async undeleteLabel(cast) {
    const { accessToken, label } = await withLabel(cast);
    await cast.kith.client(LabelService, accessToken).deleteLabel({ labelId: label.id });
    return {
      accessToken,
      request: { labelId: label.id },
      answer: { label: { id: label.id, name: label.name } },
      absent: ['label.deleteTime', 'label.purgeTime'],
    };
  },
});

/** An example may be called more than once for a user, whose labels have different names. */
function newName(): string {
  return `Family ${randomUUID()}`;
}

async function withLabel({ kith, caller }: Cast): Promise<SignedIn & { label: Label }> {
  const owner = await caller();
  const { label } = await kith.client(LabelService, owner.accessToken).createLabel({ name: newName() });
  return { ...owner, label: label! };
}
