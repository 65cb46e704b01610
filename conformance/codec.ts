/**
 * What protobuf's own conformance tests ask of an implementation: read a message in one format, write it in another.
 *
 * usage: node conformance/codec.ts CONTRACT compiled|protobuf-es
 */
import { readFileSync } from 'node:fs';
import { createFileRegistry, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import * as protobufEs from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import * as compiled from '../packages/protobuf-compiled/src/index.ts';

/** `conformance.ConformanceRequest`, as far as it is looked into. */
interface Asked extends Message {
  readonly payload:
    | { readonly case: 'protobufPayload'; readonly value: Uint8Array }
    | { readonly case: string; readonly value: string };
  readonly requestedOutputFormat: number;
  readonly messageType: string;
  readonly testCategory: number;
}

/** Of `conformance.WireFormat` and `conformance.TestCategory`. */
const PROTOBUF = 1;
const JSON_TEXT = 2;
const IGNORES_UNKNOWN = 3;

/** One of `conformance.ConformanceResponse.result`. */
type Result = { readonly case: string; readonly value: unknown };

const [contract = '', by] = process.argv.slice(2);
const codec = by === 'compiled' ? compiled : protobufEs;
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(contract)));
const request = messageOf('conformance.ConformanceRequest');
const response = messageOf('conformance.ConformanceResponse');

let bytes = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  bytes = Buffer.concat([bytes, chunk as Buffer]);
  while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32LE()) {
    const end = 4 + bytes.readUInt32LE();
    const result = answer(fromBinary(request, bytes.subarray(4, end)) as Asked);
    const answered = toBinary(response, { $typeName: response.typeName, result } as Message);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(answered.length);
    process.stdout.write(Buffer.concat([length, answered]));
    bytes = bytes.subarray(end);
  }
}

function answer({ payload, requestedOutputFormat, messageType, testCategory }: Asked): Result {
  if (messageType === 'conformance.FailureSet') return { case: 'protobufPayload', value: new Uint8Array(0) };
  const schema = messageOf(messageType);
  let message: Message;
  try {
    if (payload.case === 'protobufPayload') message = codec.fromBinary(schema, payload.value as Uint8Array);
    else if (payload.case === 'jsonPayload') {
      const ignoreUnknownFields = testCategory === IGNORES_UNKNOWN;
      message = codec.fromJsonString(schema, payload.value, { ignoreUnknownFields, registry });
    } else return { case: 'skipped', value: `${payload.case} is not read` };
  } catch (error) {
    return { case: 'parseError', value: String(error) };
  }
  try {
    if (requestedOutputFormat === PROTOBUF) return { case: 'protobufPayload', value: codec.toBinary(schema, message) };
    if (requestedOutputFormat === JSON_TEXT)
      return { case: 'jsonPayload', value: codec.toJsonString(schema, message, { registry }) };
  } catch (error) {
    return { case: 'serializeError', value: String(error) };
  }
  return { case: 'skipped', value: 'the format is not written' };
}

function messageOf(typeName: string): DescMessage {
  const desc = registry.getMessage(typeName);
  if (desc === undefined) throw new Error(`the contract has no ${typeName}`);
  return desc;
}
