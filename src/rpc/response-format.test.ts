import { create, createFileRegistry, type DescMessage, type DescService, toJson } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { responseFormat } from './response-format.ts';

/** The method CreateThing of one version of a contract, whose Thing has these text fields, numbered in their order. */
function versionWith(...names: readonly string[]) {
  const label = FieldDescriptorProto_Label.OPTIONAL;
  const thing = { label, type: FieldDescriptorProto_Type.MESSAGE, typeName: '.things.v1.Thing', jsonName: 'thing' };
  const fields = names.map((name, i) => {
    return { name, number: i + 1, label, type: FieldDescriptorProto_Type.STRING, jsonName: name };
  });
  const file = create(FileDescriptorProtoSchema, {
    name: 'things.proto',
    package: 'things.v1',
    syntax: 'proto3',
    messageType: [
      { name: 'Thing', field: fields },
      { name: 'CreateThingRequest' },
      { name: 'CreateThingResponse', field: [{ name: 'thing', number: 1, ...thing }] },
    ],
    service: [
      {
        name: 'ThingService',
        method: [
          {
            name: 'CreateThing',
            inputType: '.things.v1.CreateThingRequest',
            outputType: '.things.v1.CreateThingResponse',
          },
        ],
      },
    ],
  });
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  const method = (registry.get('things.v1.ThingService') as DescService).methods[0]!;
  const output: DescMessage = method.output;
  const format = responseFormat(method, (values: Readonly<Record<string, string>>) => ({
    thing: create(registry.getMessage('things.v1.Thing')!, values),
  }));
  return {
    encode: (values: Readonly<Record<string, string>>) => format.encode(format.toResponse(values)),
    decode: (bytes: Uint8Array) => toJson(output, format.decode(bytes)),
    encodeAgain: (bytes: Uint8Array) => format.encode(format.decode(bytes)),
  };
}

describe('a response that is stored', () => {
  const earlier = versionWith('id', 'name');
  const later = versionWith('id', 'name', 'nickname');

  test('by a version that knew one field less is read with that field at its default', () => {
    const stored = earlier.encode({ id: 'a', name: 'ä"🦉' });
    expect(later.decode(stored)).toEqual({ thing: { id: 'a', name: 'ä"🦉' } });
  });

  test('by a version that knew one field more is read without that field', () => {
    const stored = later.encode({ id: 'a', name: 'ä"🦉', nickname: 'b' });
    expect(earlier.decode(stored)).toEqual({ thing: { id: 'a', name: 'ä"🦉' } });
    expect(earlier.encodeAgain(stored)).toEqual(earlier.encode({ id: 'a', name: 'ä"🦉' }));
  });
});
