import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { file_buf_validate_validate } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { printProto } from './proto-source.ts';

/** A .proto file. */
export interface ProtoFile {
  /** As it is imported, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** What the contract imports, but for google/protobuf/, which every reader brings along: schemas that npm packages carry as descriptors alone. */
export function importedProtos(): ProtoFile[] {
  return [file_buf_validate_validate].map((file) => ({ path: file.proto.name, text: printProto(file) }));
}

/** The contract and what it imports. */
export async function readContractFiles(): Promise<ProtoFile[]> {
  const folder = fileURLToPath(new URL('../../proto/', import.meta.url));
  const paths = (await readdir(folder, { recursive: true }))
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.proto'));
  const own = paths.map(async (path) => ({ path, text: await readFile(join(folder, path), 'utf8') }));
  return [...(await Promise.all(own)), ...importedProtos()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
