import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { ResponseFormat } from '../storage/idempotency.ts';

/** Stores the responses of a method in protobuf's binary format. Fields that this version does not know are dropped. */
export function responseFormat<Created, Output extends DescMessage>(
  { name, output }: DescMethod & { readonly output: Output },
  toInit: (created: Created) => MessageInitShape<Output>,
): ResponseFormat<Created, MessageShape<Output>> {
  return {
    method: name,
    toResponse: (created) => create(output, toInit(created)),
    encode: (response) => toBinary(output, response),
    decode: (bytes) => fromBinary(output, bytes, { readUnknownFields: false }),
  };
}
