import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempDisposableSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type DescFile, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { needCommand } from '../../test/support/commands.ts';
import { parseConfig } from '../config/config.ts';
import { SERVICES } from '../services.ts';
import { runCommand } from './commands.ts';

const ERRORS = 'kith/error/v1/error.proto';
const RULES = 'buf/validate/validate.proto';

let scratch: ReturnType<typeof mkdtempDisposableSync>;
let dir: string;
beforeEach(() => {
  scratch = mkdtempDisposableSync(join(tmpdir(), 'contract-'));
  dir = join(scratch.path, 'contract');
  vi.spyOn(console, 'log').mockImplementation(() => {});
});
afterEach(() => {
  vi.restoreAllMocks();
  scratch.remove();
});

const exportIt = (to = dir) => runCommand(parseConfig({}), ['contract', 'export', to]);
const read = (path: string) => readFileSync(join(dir, path), 'utf8');
/** What was exported: path and sum. */
const listed = () =>
  read('contract.sha256')
    .trimEnd()
    .split('\n')
    .map((line) => line.split('  ') as [sum: string, path: string]);

test('what is exported is the contract as it is handed out, with all that it imports', async (context) => {
  const buf = needCommand(context, 'buf');
  await exportIt();
  const built = execFileSync(buf, ['build', dir, '-o', '-#format=binpb'], { maxBuffer: 2 ** 26 });
  const [fromExport, handedOut] = [built, readFileSync('gen/contract.binpb')].map((image) =>
    createFileRegistry(fromBinary(FileDescriptorSetSchema, image)),
  );
  const described = (files: Iterable<DescFile>) =>
    Object.fromEntries(
      [...files].map(({ proto }) => [proto.name, { ...proto, sourceCodeInfo: undefined, $unknown: undefined }]),
    );
  const expected = described(handedOut!.files);
  expect(Object.keys(expected)).toEqual(expect.arrayContaining([ERRORS, RULES]));
  expect(described(fromExport!.files)).toEqual(expected);
});

test('@grpc/proto-loader reads what is exported', async () => {
  await exportIt();
  const definition = loadSync(
    listed().map(([, path]) => path),
    { includeDirs: [dir] },
  );
  for (const { typeName, methods } of SERVICES) {
    expect(Object.keys(definition[typeName] ?? {}).toSorted()).toEqual(methods.map(({ name }) => name).toSorted());
  }
});

test('an export over an older one replaces what that wrote, removes what is gone, and leaves the rest alone', async () => {
  await exportIt();
  const now = read(ERRORS);
  // As a version before would have left it: another text, and a file that is not part of the contract any more.
  const older = (path: string, text: string) => {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), text);
    const sum = createHash('sha256').update(text).digest('hex');
    const others = listed().filter(([, other]) => other !== path);
    writeFileSync(
      join(dir, 'contract.sha256'),
      [...others, [sum, path]].map((line) => `${line.join('  ')}\n`).join(''),
    );
  };
  older(ERRORS, 'syntax = "proto3";\n');
  older('kith/old/v1/old.proto', 'syntax = "proto3";\n');
  writeFileSync(join(dir, 'mine.proto'), 'syntax = "proto3";\n');
  await exportIt();
  expect(read(ERRORS)).toBe(now);
  expect(existsSync(join(dir, 'kith/old/v1/old.proto'))).toBe(false);
  expect(read('mine.proto')).toBe('syntax = "proto3";\n');
});

test.each([
  ['a file of its own where one of the contract belongs', () => put(RULES, 'mine'), RULES],
  ['a link in the place of one', () => link(ERRORS), ERRORS],
  ['a link to where nothing is', () => link(ERRORS, 'nowhere'), ERRORS],
  ['a folder in the place of one', () => mkdirSync(join(dir, ERRORS), { recursive: true }), ERRORS],
  ['a list that is none', () => put('contract.sha256', 'mine'), 'contract.sha256 is not the list of an export'],
  [
    'a list that leads out of the folder',
    () => put('contract.sha256', `${'0'.repeat(64)}  ../kith/x.proto\n`),
    'contract.sha256 is not the list of an export',
  ],
])('a folder with %s is refused, and nothing is written', async (_, prepare, message) => {
  mkdirSync(dir);
  prepare();
  await expect(exportIt()).rejects.toThrow(message);
  expect(existsSync(join(dir, 'kith/user'))).toBe(false);
});

test('a file that was changed since it was exported is refused', async () => {
  await exportIt();
  writeFileSync(join(dir, ERRORS), `${read(ERRORS)}// a note\n`);
  await expect(exportIt()).rejects.toThrow(`${join(dir, ERRORS)} is not as an export has left it`);
  rmSync(join(dir, ERRORS));
  await exportIt();
  expect(read(ERRORS)).not.toContain('a note');
});

test('what cannot be a folder is refused in words', async () => {
  put('../file', 'text');
  await expect(exportIt(join(scratch.path, 'file', 'contract'))).rejects.toThrow(/^cannot export to .*: ENOTDIR/);
});

test('the command takes a folder, and none by another name', async () => {
  const refused = (...words: string[]) => runCommand(parseConfig({}), words);
  await expect(refused('contract', 'export')).rejects.toThrow('usage: npm run kith -- contract export DIR');
  await expect(refused('contract', 'export', 'a', 'b')).rejects.toThrow('usage: npm run kith -- contract export DIR');
  await expect(refused('contract')).rejects.toThrow('there is no command contract;');
});

function put(path: string, text: string): void {
  mkdirSync(join(dir, path, '..'), { recursive: true });
  writeFileSync(join(dir, path), text);
}

function link(path: string, to = 'elsewhere'): void {
  put('../elsewhere', 'mine');
  mkdirSync(join(dir, path, '..'), { recursive: true });
  symlinkSync(resolve(scratch.path, to), join(dir, path));
}
