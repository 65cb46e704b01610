import { readFile } from 'node:fs/promises';
import {
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  type Registry,
} from '@bufbuild/protobuf';
import { UsageError } from '../command.ts';
import { unreadable } from '../input-files.ts';
import type { Terminal } from '../terminal/terminal.ts';

/** How a body may be given, for help. */
export const BODY_HELP = 'JSON, @FILE with it, or - to read it from standard input';

/** Reads JSON as it was given: itself, `@FILE`, or `-` for standard input. Throws UsageError. */
export async function readJsonObject(given: string, terminal: Terminal): Promise<JsonObject> {
  const [text, where] = await readText(given, terminal);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new UsageError(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new UsageError(`${where} is not an object: {...}`);
}

/** The first line of a file, or of standard input for `-`: for what is secret, and so is no argument. Throws UsageError. */
export async function readSecretLine(file: string, terminal: Terminal): Promise<string> {
  const line = file === '-' ? await terminal.ask('') : (await readFileText(file)).split(/\r?\n/)[0];
  if (!line) throw new UsageError(`${file === '-' ? 'standard input' : file} has no line with the secret`);
  return line;
}

/** The request as a message. Throws UsageError where the JSON does not fit it. */
export function messageOf<D extends DescMessage>(schema: D, json: JsonObject, registry: Registry): MessageShape<D> {
  try {
    return fromJson(schema, json, { registry });
  } catch (error) {
    // As it comes: `cannot decode field kith.user.v1.GetUserRequest.user_id from JSON: expected string, got number`.
    throw new UsageError((error as Error).message, { cause: error });
  }
}

async function readText(given: string, terminal: Terminal): Promise<[text: string, where: string]> {
  if (given === '-') return [await terminal.readInput(), 'standard input'];
  if (given.startsWith('@')) return [await readFileText(given.slice(1)), given.slice(1)];
  return [given, 'the body'];
}

async function readFileText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}
