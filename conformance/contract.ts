import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  type DescMessage,
  type DescService,
  fromBinary,
  type Message,
  type Registry,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const PACKAGE = 'connectrpc.conformance.v1';

/** The contract of the conformance tests. */
export interface Contract {
  readonly registry: Registry;
  readonly service: DescService;
  /** A message by its name in the package. */
  message(name: string): DescMessage;
  descOf(message: Message): DescMessage;
}

/** Reads the contract as buf compiled it, a `google.protobuf.FileDescriptorSet`. Throws when it is not that contract. */
export function readContract(path: string): Contract {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)));
  const messageOf = (typeName: string) => found(registry.getMessage(typeName), typeName);
  return {
    registry,
    service: found(registry.getService(`${PACKAGE}.ConformanceService`), 'ConformanceService'),
    message: (name) => messageOf(`${PACKAGE}.${name}`),
    descOf: ({ $typeName }) => messageOf($typeName),
  };
}

function found<T>(desc: T | undefined, name: string): T {
  if (desc === undefined) throw new Error(`the contract has no ${name}`);
  return desc;
}
