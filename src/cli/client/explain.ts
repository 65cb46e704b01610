import { randomUUID } from 'node:crypto';
import { type DescMessage, type DescMethod, getOption, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { access, secret } from '../../../gen/kith/access/v1/access_pb.ts';
import { UsageError } from '../command.ts';
import { nameOf } from './contract.ts';

/** Marks a place in a body that the shell fills in from a variable. */
export interface Placeholders {
  /** A text to put into the JSON in place of the value of the variable. */
  of(variable: string): string;
  /** The text in quotes of a shell, with the variables in it. */
  quoted(text: string): string;
}

export function createPlaceholders(): Placeholders {
  const mark = randomUUID();
  return {
    of: (variable) => `${mark}:${variable}:`,
    quoted: (text) => shellQuoted(text).replaceAll(new RegExp(`${mark}:(\\w+):`, 'g'), `'"$$$1"'`),
  };
}

/** A call as a command for a shell: Connect with JSON, by curl. What is secret in it is read from variables of the shell. */
export function curlOf(url: string, method: DescMethod, body: JsonObject, placeholders = createPlaceholders()): string {
  const json = JSON.stringify(withoutSecrets(method.input, body, placeholders));
  const isPublic = getOption(method, access).rule.case === 'public';
  const authorization = isPublic ? [] : [`-H "authorization: Bearer $TOKEN"`];
  const address = shellQuoted(`${url}/${nameOf(method)}`);
  if (method.methodKind === 'unary') {
    return [
      `curl -sS ${address}`,
      `-H 'content-type: application/json'`,
      ...authorization,
      `-d ${placeholders.quoted(json)}`,
    ].join(' \\\n  ');
  }
  // A message of a stream has a byte of flags and its length before it: https://connectrpc.com/docs/protocol#streaming-request
  const bytes = new DataView(new ArrayBuffer(5));
  bytes.setUint32(1, Buffer.byteLength(json));
  const head = Array.from(new Uint8Array(bytes.buffer), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  return [
    `printf '${head}%s' ${placeholders.quoted(json)} |`,
    `curl -sSN ${address}`,
    `-H 'content-type: application/connect+json'`,
    ...authorization,
    '--data-binary @-',
  ].join(' \\\n  ');
}

/** Refuses calls that the command line cannot make. */
export function requireCallable(method: DescMethod): void {
  if (method.methodKind === 'unary' || method.methodKind === 'server_streaming') return;
  throw new UsageError(
    `${nameOf(method)} takes a stream of requests, which the command line cannot send: use a client`,
  );
}

/** Whether a field of a request is a password or the like, by the contract. */
export function isSecret(field: DescMessage['fields'][number]): boolean {
  return getOption(field, secret);
}

function withoutSecrets(schema: DescMessage, json: JsonObject, placeholders: Placeholders): JsonObject {
  return Object.fromEntries(
    Object.entries(json).map(([name, value]): [string, JsonValue] => {
      const field = schema.fields.find((each) => each.jsonName === name || each.name === name);
      if (field === undefined) return [name, value];
      if (isSecret(field)) return [name, placeholders.of(field.name.toUpperCase())];
      if (field.message === undefined || field.fieldKind === 'map') return [name, value];
      const { message } = field;
      const inner = (each: JsonValue): JsonValue =>
        typeof each === 'object' && each !== null && !Array.isArray(each)
          ? withoutSecrets(message, each, placeholders)
          : each;
      return [name, Array.isArray(value) ? value.map(inner) : inner(value)];
    }),
  );
}

/** A text as one word of a shell (POSIX.1-2017, 2.2.2). */
function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
