import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { type FileDescriptorSet, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** The whole contract with all it imports and its comments, as `npm run generate` builds it: a Buf image, which is a FileDescriptorSet. */
export const CONTRACT_IMAGE = new URL('../../gen/contract.binpb', import.meta.url);

/** The contract of this version. Throws Node's error when the file is not there. */
export function readContractImage(): FileDescriptorSet {
  return fromBinary(FileDescriptorSetSchema, readFileSync(CONTRACT_IMAGE));
}
