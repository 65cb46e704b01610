import type { ServiceImpl } from '@connectrpc/connect';
import { LabelSchema, type LabelService } from '../../../gen/kith/contact/v1/label_service_pb.ts';
import { liveThenDeleted, type PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { messageJson } from '../../rpc/message-json.ts';
import {
  createLabel,
  deleteLabel,
  type LabelsApp,
  listLabels,
  purgeLabelsOf,
  undeleteLabel,
  updateLabel,
} from './labels.ts';
import { createLabelResponse, toLabelMessage } from './messages.ts';

export function labelService(app: LabelsApp): ServiceImpl<typeof LabelService> {
  return {
    createLabel({ name, color, requestId }, context) {
      const label = { name, color: color.toLowerCase(), requestId };
      return createLabel(app, callerOf(context), label, createLabelResponse);
    },
    async listLabels(request, context) {
      const { items, nextPageToken } = await listLabels(app, callerOf(context), request);
      return { labels: items.map(toLabelMessage), nextPageToken };
    },
    async updateLabel({ labelId, etag, name, color }, context) {
      const update = { name, color: color?.toLowerCase() };
      return { label: toLabelMessage(await updateLabel(app, callerOf(context), labelId, etag, update)) };
    },
    async deleteLabel({ labelId, etag }, context) {
      return { label: toLabelMessage(await deleteLabel(app, callerOf(context), labelId, etag)) };
    },
    async undeleteLabel({ labelId, etag }, context) {
      return { label: toLabelMessage(await undeleteLabel(app, callerOf(context), labelId, etag)) };
    },
  };
}

/** Labels: those that are there, then deleted ones. Nobody but their owner reads them. */
export const labelData: PersonalData = {
  tables: { labels: { owner_id: { exported: 'labels' } } },
  parts: {
    labels: {
      permission: undefined,
      read: liveThenDeleted(listLabels, (label) => messageJson(LabelSchema, toLabelMessage(label))),
    },
  },
  remove: purgeLabelsOf,
};
