/** A number as it is written, whatever its size. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An object, its names in the order in which they are written; names such as `__proto__` are names like others. */
export class JsonObject extends Map<string, Json> {
  /** The line of the file that it begins on, from 1; 0 if it is of none. */
  line = 0;
}

export type Json = null | boolean | string | JsonNumber | JsonObject | readonly Json[];

/** A value of a file. */
export interface ReadJson {
  readonly value: Json;
  /** The line that it begins on, from 1. */
  readonly line: number;
  /** Why the value is not what the file has, as a sentence; '' if it is. */
  readonly error: string;
  /** A JSON pointer (RFC 6901) to the first text that is no Unicode and was mended; undefined without one. */
  readonly illFormed: string | undefined;
}

/** How deep objects and arrays of a value go at the most, and how many values it has. */
export const JSON_DEPTH_MAX = 32;
export const JSON_VALUES_MAX = 20_000;

/**
 * The values of a file: those of one array, or one after the other, with line ends or commas between them. Never throws for
 * a file: a value that cannot be read has an error, and what follows is read again from the next line that begins with an
 * object. Takes time linear in the text, and holds one value at a time.
 */
export function* readJsonValues(text: string): Generator<ReadJson> {
  const reader = new JsonReader(text);
  while (reader.goToValue()) yield reader.readValue();
}

/** The one value of a text, within the same bounds; undefined if there is none, or it is no JSON. */
export function parseJson(text: string): Json | undefined {
  const reader = new JsonReader(text);
  if (reader.nextSign() === undefined) return undefined;
  const { value, error } = reader.readValue();
  return error === '' && reader.nextSign() === undefined ? value : undefined;
}

/** Where the values of a file are, as readJsonValues divides it, without reading them: what begins none is of the one before. */
export function* jsonPieces(text: string): Generator<{ readonly start: number; readonly end: number }> {
  const reader = new JsonReader(text);
  while (reader.goToValue()) {
    const start = reader.at;
    reader.skipValue();
    yield { start, end: reader.at };
  }
}

/** Why a text is no JSON. */
class NoJson extends Error {}

class JsonReader {
  at = 0;
  readonly #text: string;
  #isInArray = false;
  /** A place up to which lines are counted, and its line. */
  #counted = 0;
  #line = 1;
  /** Of the value that is read. */
  #path: (string | number)[] = [];
  #values = 0;
  #problem = '';
  #illFormed: string | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  /** Goes to the next character that is no blank, and says which it is; undefined at the end. */
  nextSign(): string | undefined {
    BLANKS.lastIndex = this.at;
    BLANKS.exec(this.#text);
    this.at = BLANKS.lastIndex;
    return this.#text[this.at];
  }

  /** Goes to the next value of a file: of the one array that it is, or one after the other. False at the end. */
  goToValue(): boolean {
    for (;;) {
      const sign = this.nextSign();
      if (sign === undefined) return false;
      const beginsArray = sign === '[' && !this.#isInArray;
      if (sign !== ',' && sign !== ']' && !beginsArray) return true;
      this.#isInArray ||= beginsArray;
      this.at++;
    }
  }

  readValue(): ReadJson {
    const line = this.#lineAt(this.at);
    [this.#path, this.#values, this.#problem, this.#illFormed] = [[], 0, '', undefined];
    let value: Json = null;
    try {
      value = this.#value();
    } catch (error) {
      if (!(error instanceof NoJson)) throw error;
      const found = this.#lineAt(this.at);
      const where = found === line ? '' : ` (line ${found})`;
      this.#problem = `this is no JSON${this.#where()}${where}: ${error.message}`;
      this.#goToNextLine();
    }
    return { value, line, error: this.#problem, illFormed: this.#illFormed };
  }

  /** Goes behind a value, without a look at what it is. */
  skipValue(): void {
    let depth = 0;
    do {
      const sign = this.nextSign();
      if (sign === undefined) return;
      if (sign === '"') this.#skipString();
      else {
        if (sign === '{' || sign === '[') depth++;
        else if (sign === '}' || sign === ']') depth--;
        this.at++;
        if (depth === 0 && /[^{}[\]]/.test(sign)) {
          const word = /[^\s,{}[\]"]*/y;
          word.lastIndex = this.at;
          this.at += word.exec(this.#text)![0].length;
        }
      }
    } while (depth > 0);
  }

  #value(): Json {
    const sign = this.nextSign();
    if (++this.#values > JSON_VALUES_MAX) {
      this.#problem ||= `there are more than ${JSON_VALUES_MAX} values in it`;
      this.#path = [];
    }
    if (sign === '{' || sign === '[') {
      if (this.#problem !== '' || this.#path.length >= JSON_DEPTH_MAX) {
        this.#problem ||= `it goes deeper than ${JSON_DEPTH_MAX} levels${this.#where()}`;
        this.skipValue();
        return null;
      }
      return sign === '{' ? this.#object() : this.#array();
    }
    if (sign === '"') return this.#string();
    SCALAR.lastIndex = this.at;
    const scalar = SCALAR.exec(this.#text)?.[0];
    if (scalar === undefined) throw new NoJson(sign === undefined ? 'it ends too early' : 'a value is missing');
    this.at += scalar.length;
    if (scalar === 'true' || scalar === 'false') return scalar === 'true';
    return scalar === 'null' ? null : new JsonNumber(scalar);
  }

  #object(): JsonObject {
    const object = new JsonObject();
    object.line = this.#lineAt(this.at);
    this.at++;
    for (let sign = this.nextSign(); sign !== '}'; sign = this.nextSign()) {
      if (object.size > 0) this.#take(',', 'a comma or a brace');
      if (this.nextSign() !== '"') throw new NoJson('a name in quotes is missing');
      const name = this.#string();
      this.nextSign();
      this.#take(':', 'a colon');
      this.#path.push(name);
      if (object.has(name)) this.#problem ||= `the name is there twice${this.#where()}`;
      const value = this.#value();
      object.set(name, value);
      this.#path.pop();
    }
    this.at++;
    return object;
  }

  #array(): Json[] {
    const array: Json[] = [];
    this.at++;
    for (let sign = this.nextSign(); sign !== ']'; sign = this.nextSign()) {
      if (array.length > 0) this.#take(',', 'a comma or a bracket');
      this.#path.push(array.length);
      const value = this.#value();
      array.push(value);
      this.#path.pop();
    }
    this.at++;
    return array;
  }

  #take(sign: string, what: string): void {
    if (this.#text[this.at] !== sign) throw new NoJson(`${what} is missing`);
    this.at++;
  }

  #string(): string {
    this.at++;
    let text = '';
    for (;;) {
      PLAIN.lastIndex = this.at;
      text += PLAIN.exec(this.#text)![0];
      this.at = PLAIN.lastIndex;
      const sign = this.#text[this.at];
      if (sign === '"') break;
      if (sign !== '\\') {
        throw new NoJson(sign === undefined ? 'a text has no end' : 'a text has a control character in it');
      }
      ESCAPE.lastIndex = this.at;
      const escape = ESCAPE.exec(this.#text)?.[0];
      if (escape === undefined) throw new NoJson('a text has a backslash in it that is no escape');
      text += escape[1] === 'u' ? String.fromCharCode(Number.parseInt(escape.slice(2), 16)) : ESCAPES[escape[1]!]!;
      this.at += escape.length;
    }
    this.at++;
    if (text.isWellFormed()) return text;
    this.#illFormed ??= pointerOf(this.#path);
    return text.toWellFormed();
  }

  #skipString(): void {
    this.at++;
    for (;;) {
      STRING_END.lastIndex = this.at;
      const sign = STRING_END.exec(this.#text);
      if (sign === null) {
        this.at = this.#text.length;
        return;
      }
      this.at = sign.index + (sign[0] === '"' ? 1 : 2);
      if (sign[0] === '"') return;
    }
  }

  #where(): string {
    return this.#path.length === 0 ? '' : ` at ${pointerOf(this.#path)}`;
  }

  /** The line of a place, which is not before the last one that was asked for. */
  #lineAt(place: number): number {
    if (place < this.#counted) return this.#line;
    LINE_END.lastIndex = this.#counted;
    for (let end = LINE_END.exec(this.#text); end !== null && end.index < place; end = LINE_END.exec(this.#text)) {
      this.#line++;
      this.#counted = LINE_END.lastIndex;
    }
    return this.#line;
  }

  #goToNextLine(): void {
    NEXT_OBJECT.lastIndex = this.at;
    const next = NEXT_OBJECT.exec(this.#text);
    this.at = next === null ? this.#text.length : next.index + 1;
  }
}

const BLANKS = /[ \t\r\n\uFEFF]*/y;
const SCALAR = /(?:true|false|null|-?(?:0|[1-9]\d{0,99})(?:\.\d{1,99})?(?:[eE][+-]?\d{1,9})?)(?![\w.+-])/y;
// oxlint-disable-next-line no-control-regex -- what JSON does not allow in texts
const PLAIN = /[^"\\\u0000-\u001F]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;
const STRING_END = /["\\]/g;
const LINE_END = /\r\n?|\n/g;
const NEXT_OBJECT = /[\r\n],?[{[]/g;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** How much of a pointer a sentence has. */
const POINTER_SHOWN = 100;

/** A JSON pointer (RFC 6901), cut where it is long. */
export function pointerOf(path: readonly (string | number)[]): string {
  const pointer = path.map((name) => `/${escapePointer(String(name).slice(0, POINTER_SHOWN))}`).join('');
  return pointer.length > POINTER_SHOWN ? `${pointer.slice(0, POINTER_SHOWN).toWellFormed()}...` : pointer;
}

/** A name as a pointer has it. */
export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** The names of a pointer that begins without a slash. */
export function namesOfPointer(pointer: string): string[] {
  return pointer.split('/').map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** A value as JSON on one line. */
export function formatJson(value: Json): string {
  if (value instanceof JsonNumber) return value.text;
  if (value instanceof JsonObject) {
    return `{${[...value].map(([name, each]) => `${JSON.stringify(name)}:${formatJson(each)}`).join(',')}}`;
  }
  if (typeof value === 'object' && value !== null) return `[${value.map(formatJson).join(',')}]`;
  return JSON.stringify(value);
}

/** An object of names and values, without those that are undefined. */
export function jsonObject(values: Readonly<Record<string, Json | undefined>>): JsonObject {
  const object = new JsonObject();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) object.set(name, value);
  return object;
}

/** Whether two values are the same, whatever the order of names; `@type` is what its place implies, and does not count. */
export function isSameJson(one: Json | undefined, other: Json | undefined): boolean {
  if (one === other) return true;
  if (one instanceof JsonNumber) return other instanceof JsonNumber && Number(one.text) === Number(other.text);
  if (one instanceof JsonObject) {
    if (!(other instanceof JsonObject)) return false;
    const names = [...one.keys()].filter((name) => name !== '@type');
    const count = other.size - (other.has('@type') ? 1 : 0);
    return (
      names.length === count && names.every((name) => other.has(name) && isSameJson(one.get(name), other.get(name)))
    );
  }
  if (!Array.isArray(one) || !Array.isArray(other)) return false;
  return one.length === other.length && one.every((each: Json, i) => isSameJson(each, other[i] as Json));
}
