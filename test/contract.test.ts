import { globSync, readFileSync } from 'node:fs';
import { createFileRegistry, type DescFile, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';

const image = execFileSync('node_modules/.bin/buf', ['build', 'proto', '-o', '-#format=binpb'], { maxBuffer: 2 ** 26 });
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const FILES = [...registry.files].filter(({ proto }) => proto.package.startsWith('kith.'));

/** Words of C++20 that protoc 3.21 does not know: it escapes those of C++11 alone. */
const CPP20 = ['char8_t', 'concept', 'consteval', 'constinit', 'co_await', 'co_return', 'co_yield', 'requires'];

describe.each(FILES.map((file) => [file.proto.name, file] as const))('%s', (_, file) => {
  test('is in a syntax that protoc 3.21 reads', () => {
    expect(['proto2', 'proto3', '']).toContain(file.proto.syntax);
  });

  test('names its package for Go and Java, which clients import by it', () => {
    const [, area, version] = file.proto.package.split('.');
    const name = file.name
      .split('/')
      .at(-1)!
      .replaceAll(/(?:^|_)([a-z])/g, (_all, letter: string) => letter.toUpperCase());
    expect(file.proto.options).toMatchObject({
      goPackage: `kith/${area}/${version};${area}${version}`,
      javaPackage: file.proto.package,
      javaMultipleFiles: true,
      javaOuterClassname: `${name}Proto`,
    });
  });

  test('has no name that is a word of a language into which it is generated', () => {
    expect(namesOf(file).filter((name) => CPP20.includes(name))).toEqual([]);
  });

  test('shows no extension inside a value in braces, which protobufjs does not parse', () => {
    expect(readFileSync(`proto/${file.proto.name}`, 'utf8')).not.toMatch(/\[kith\.[\w.]+\]/);
  });
});

test('every file of the contract is looked at', () => {
  expect(FILES.map(({ proto }) => proto.name).toSorted()).toEqual(globSync('**/*.proto', { cwd: 'proto' }).toSorted());
});

test('options of Kith have numbers of its own range, a hundred for each package, none twice', () => {
  const extensions = FILES.flatMap((file) =>
    file.extensions.map(({ number }) => ({ number, package: file.proto.package })),
  );
  const hundreds = new Map<number, Set<string>>();
  for (const { number, package: name } of extensions) {
    const hundred = Math.floor(number / 100);
    hundreds.set(hundred, (hundreds.get(hundred) ?? new Set()).add(name));
  }
  expect(extensions.length).toBeGreaterThan(5);
  expect(extensions.filter(({ number }) => number < 249_440_000 || number > 249_440_999)).toEqual([]);
  expect(new Set(extensions.map(({ number }) => number)).size).toBe(extensions.length);
  expect([...hundreds.values()].filter((packages) => packages.size > 1)).toEqual([]);
});

test('roles and permissions come without the options that declare access', () => {
  const file = FILES.find(({ proto }) => proto.name === 'kith/access/v1/role.proto')!;
  expect(file.enums.map(({ name }) => name).toSorted()).toEqual(['Permission', 'Role']);
  expect(file.dependencies).toEqual([]);
});

/** All names that generated code has a function or type for. */
function namesOf({ messages, enums, extensions, services }: DescFile): string[] {
  return [
    ...extensions.map(({ name }) => name),
    ...enums.flatMap(({ name, values }) => [name, ...values.map((value) => value.name)]),
    ...services.flatMap(({ name, methods }) => [name, ...methods.map((method) => method.name)]),
    ...messages.flatMap(({ name, fields, oneofs }) => [name, ...[...fields, ...oneofs].map((member) => member.name)]),
  ];
}
