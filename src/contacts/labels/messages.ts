import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Label as LabelMessage,
  LabelSchema,
  LabelService,
} from '../../../gen/kith/contact/v1/label_service_pb.ts';
import { responseFormat } from '../../rpc/response-format.ts';
import type { Label } from './labels.ts';

export function toLabelMessage({ createMs, updateMs, deleteMs, purgeMs, ...same }: Label): LabelMessage {
  return create(LabelSchema, {
    ...same,
    createTime: timestampFromMs(createMs),
    updateTime: timestampFromMs(updateMs),
    ...(deleteMs === null ? {} : { deleteTime: timestampFromMs(deleteMs) }),
    ...(purgeMs === null ? {} : { purgeTime: timestampFromMs(purgeMs) }),
  });
}

/** Responses to CreateLabel, which are stored for a caller that sends the request again. */
export const createLabelResponse = responseFormat(LabelService.method.createLabel, (label: Label) => ({
  label: toLabelMessage(label),
}));
