import {
  type DescMessage,
  fromJsonString as fromJsonStringOfProtobuf,
  type JsonReadOptions,
  type JsonWriteStringOptions,
  type MessageShape,
  toJsonString as toJsonStringOfProtobuf,
} from '@bufbuild/protobuf';
import { canCompile, UNUSUAL } from './compile.ts';
import { jsonDecoderOf, reading } from './json-decoder.ts';
import { jsonEncoderOf } from './json-encoder.ts';

/** How many messages may be one in the other, if the options do not say. */
const DEPTH = 100;

/** Reads a message. The same as `fromJsonString` of Protobuf-ES, also in what it refuses and how. */
export function fromJsonString<Desc extends DescMessage>(
  schema: Desc,
  text: string,
  options?: Partial<JsonReadOptions>,
): MessageShape<Desc> {
  if (canCompile) {
    try {
      const json: unknown = JSON.parse(text);
      reading.ignoresUnknown = options?.ignoreUnknownFields ?? false;
      reading.names = 0;
      const message = jsonDecoderOf(schema).read(json, options?.recursionLimit ?? DEPTH);
      // Of names that come twice in an object, one is left.
      if (reading.names !== namesIn(text)) throw UNUSUAL;
      return message as MessageShape<Desc>;
    } catch {
      // Protobuf-ES reads it, or says what is wrong with it.
    }
  }
  return fromJsonStringOfProtobuf(schema, text, options);
}

/** Writes a message. The same as `toJsonString` of Protobuf-ES, also in what it refuses and how. */
export function toJsonString<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  options?: Partial<JsonWriteStringOptions>,
): string {
  if (canCompile && (options === undefined || isUsual(options))) {
    try {
      const json = jsonEncoderOf(schema).write(message);
      return options?.prettySpaces === undefined
        ? JSON.stringify(json)
        : JSON.stringify(json, undefined, options.prettySpaces);
    } catch {
      // Protobuf-ES writes it, or says what is wrong with it.
    }
  }
  return toJsonStringOfProtobuf(schema, message, options);
}

function isUsual({ alwaysEmitImplicit, enumAsInteger, useProtoFieldName }: Partial<JsonWriteStringOptions>): boolean {
  return alwaysEmitImplicit !== true && enumAsInteger !== true && useProtoFieldName !== true;
}

const QUOTE = 34;
const COLON = 58;
const BACKSLASH = 92;

/** How many members the objects in a text of JSON have, those of the same name counted each. */
function namesIn(text: string): number {
  let names = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === COLON) names++;
    else if (code === QUOTE) {
      for (i++; ; i++) {
        const inner = text.charCodeAt(i);
        if (inner === QUOTE) break;
        if (inner === BACKSLASH) i++;
      }
    }
  }
  return names;
}
