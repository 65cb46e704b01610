import { create, type DescField, type DescMessage, type Message } from '@bufbuild/protobuf';
import { quote } from './compile.ts';
import { isAlwaysThere } from './fields.ts';

/** A property of a message, and the variable that its value is read into. */
interface Property {
  readonly name: string;
  readonly variable: string;
  /** What stands in its place where nothing was read. */
  readonly absent?: string;
}

/**
 * The part of a source that makes a message, as `create()` does. The values of fields are in variables until all have been
 * read (`f` and the index of the field, `o` and that of the oneof), so that messages of a type have the same hidden class
 * however their fields come.
 */
export class MessageSource {
  /** Values that no source can have, by their name in it. */
  readonly values: Record<string, unknown> = {};
  readonly #desc: DescMessage;
  /** As Protobuf-ES makes it: what is not sent has the values that are here. */
  readonly #empty: Message & Record<string, unknown>;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.#empty = create(desc);
  }

  /** A name for a value that is given to the source. */
  value(name: string, value: unknown): string {
    const unique = `${name}${Object.keys(this.values).length}`;
    this.values[unique] = value;
    return unique;
  }

  oneofVariable({ oneof }: DescField): string {
    return `o${this.#desc.oneofs.indexOf(oneof!)}`;
  }

  /** Statements that declare the variables. */
  variables(): string[] {
    const { oneofs, fields } = this.#desc;
    return [
      ...oneofs.map((_, i) => `let o${i};`),
      ...fields.flatMap((field, i) => (field.oneof === undefined ? `let f${i}${this.#initial(field)};` : [])),
    ];
  }

  /** What a field is before anything of it has been read: what every message has, or nothing. */
  #initial(field: DescField): string {
    if (field.fieldKind === 'list') return ' = []';
    if (field.fieldKind === 'map') return ' = {}';
    return isAlwaysThere(field) ? ` = ${this.#literal(this.#empty[field.localName])}` : '';
  }

  #literal(value: unknown): string {
    switch (typeof value) {
      case 'string':
        return quote(value);
      case 'boolean':
      case 'number':
        return String(value);
      case 'bigint':
        return `${value}n`;
      default:
        return this.value('value', value);
    }
  }

  /** Protobuf-ES gives messages a prototype where fields may be absent and yet have a value. */
  #hasPrototype(): boolean {
    return Object.getPrototypeOf(this.#empty) !== Object.prototype;
  }

  /** Properties that every message has, in their order. */
  #always(): Property[] {
    const { members, fields, oneofs } = this.#desc;
    return members.flatMap((member) => {
      if (member.kind === 'oneof')
        return { name: member.localName, variable: `o${oneofs.indexOf(member)}`, absent: '{ case: undefined }' };
      return isAlwaysThere(member) ? { name: member.localName, variable: `f${fields.indexOf(member)}` } : [];
    });
  }

  /** Properties that a message has where they were sent. */
  #sometimes(): Property[] {
    return this.#desc.fields.flatMap((field, i) =>
      field.oneof === undefined && !isAlwaysThere(field) ? { name: field.localName, variable: `f${i}` } : [],
    );
  }

  /** Stands before the function that has `messageSource` in it. */
  constructorSource(): string {
    if (!this.#hasPrototype()) return '';
    const prototype = this.value('prototype', Object.getPrototypeOf(this.#empty));
    const always = this.#always();
    return `function Message(${always.map(({ variable }) => variable).join(', ')}) {
  this.$typeName = ${quote(this.#desc.typeName)};
  ${always.map(({ name, variable }) => `this[${quote(name)}] = ${variable};`).join('\n  ')}
}
Message.prototype = ${prototype};`;
  }

  /** Statements that make the message `m` of the variables. */
  messageSource(): string {
    const always = this.#always().map(({ name, variable, absent }) => ({
      name,
      value: absent === undefined ? variable : `${variable} === undefined ? ${absent} : ${variable}`,
    }));
    const made = this.#hasPrototype()
      ? `new Message(${always.map(({ value }) => value).join(', ')})`
      : `{ $typeName: ${quote(this.#desc.typeName)}, ${always.map(({ name, value }) => `${quote(name)}: ${value}`).join(', ')} }`;
    const sometimes = this.#sometimes().map(
      ({ name, variable }) => `if (${variable} !== undefined) m[${quote(name)}] = ${variable};`,
    );
    return [`const m = ${made};`, ...sometimes].join('\n  ');
  }
}
