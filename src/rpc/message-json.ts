import { create, type DescMessage, type MessageInitShape, toJson } from '@bufbuild/protobuf';

/** A message of the contract in the JSON that Connect gives it: https://protobuf.dev/programming-guides/json/ */
export function messageJson<D extends DescMessage>(desc: D, message: MessageInitShape<D>): object {
  return toJson(desc, create(desc, message)) as object;
}
