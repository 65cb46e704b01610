import { readFileSync } from 'node:fs';
import { createFileRegistry, type DescMessage, type DescService, fromBinary, type Registry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** The contract of the official conformance tests, as run.ts compiled it from the module that brings the runner. */
export interface Contract {
  readonly registry: Registry;
  readonly service: DescService;
  message(name: string): DescMessage;
}

/** Reads the compiled contract, a `google.protobuf.FileDescriptorSet`. */
export function readContract(path: string): Contract {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)));
  const found = <T>(desc: T | undefined, name: string): T => {
    if (desc === undefined) throw new Error(`the contract has no ${name}`);
    return desc;
  };
  const nameOf = (name: string) => `connectrpc.conformance.v1.${name}`;
  return {
    registry,
    service: found(registry.getService(nameOf('ConformanceService')), 'service'),
    message: (name) => found(registry.getMessage(nameOf(name)), name),
  };
}
