import {
  createRegistry,
  type DescEnum,
  type DescExtension,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescOneof,
  type MessageShape,
  type Registry,
} from '@bufbuild/protobuf';
import { toText } from '@bufbuild/protobuf/txtpb';
import {
  Edition,
  EnumOptionsSchema,
  EnumValueOptionsSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FieldOptionsSchema,
  FileOptionsSchema,
  MessageOptionsSchema,
  OneofOptionsSchema,
} from '@bufbuild/protobuf/wkt';

const FIELD_NUMBER_MAX = 536_870_911;

/**
 * Prints a file as .proto source, without comments. Throws on what the schemas of others that Kith imports
 * do not use: any syntax but proto2, maps, groups, default values.
 */
export function printProto(file: DescFile): string {
  if (file.edition !== Edition.EDITION_PROTO2) throw new Error(`${file.proto.name} is not proto2`);
  const registry = createRegistry(file, ...file.dependencies);
  const lines = [
    'syntax = "proto2";',
    `package ${file.proto.package};`,
    ...file.proto.dependency.map((name) => `import "${name}";`),
    ...optionLines(FileOptionsSchema, file.proto.options, registry),
    ...file.extensions.flatMap((extension) => printExtension(extension, registry)),
    ...file.enums.flatMap((type) => printEnum(type, registry)),
    ...file.messages.flatMap((type) => printMessage(type, registry)),
  ];
  return `${lines.join('\n')}\n`;
}

function printMessage(type: DescMessage, registry: Registry): string[] {
  return block(`message ${type.name}`, [
    ...optionLines(MessageOptionsSchema, type.proto.options, registry),
    ...type.members.flatMap((member) =>
      member.kind === 'oneof' ? printOneof(member, registry) : printField(member, labelOf(member), registry),
    ),
    ...type.nestedEnums.flatMap((nested) => printEnum(nested, registry)),
    ...type.nestedMessages.flatMap((nested) => printMessage(nested, registry)),
    ...type.nestedExtensions.flatMap((nested) => printExtension(nested, registry)),
    ...type.proto.extensionRange.map(({ start, end }) => `extensions ${range(start, end - 1)};`),
    ...type.proto.reservedRange.map(({ start, end }) => `reserved ${range(start, end - 1)};`),
    ...type.proto.reservedName.map((name) => `reserved "${name}";`),
  ]);
}

function printEnum(type: DescEnum, registry: Registry): string[] {
  return block(`enum ${type.name}`, [
    ...optionLines(EnumOptionsSchema, type.proto.options, registry),
    ...type.values.map(
      ({ name, number, proto }) =>
        `${name} = ${number}${inlineOptions(EnumValueOptionsSchema, proto.options, registry)};`,
    ),
    // Unlike a message's, an enum's reserved range includes its end.
    ...type.proto.reservedRange.map(({ start, end }) => `reserved ${range(start, end)};`),
    ...type.proto.reservedName.map((name) => `reserved "${name}";`),
  ]);
}

function printOneof(oneof: DescOneof, registry: Registry): string[] {
  return block(`oneof ${oneof.name}`, [
    ...optionLines(OneofOptionsSchema, oneof.proto.options, registry),
    ...oneof.fields.flatMap((field) => printField(field, '', registry)),
  ]);
}

function printExtension(extension: DescExtension, registry: Registry): string[] {
  return block(`extend .${extension.extendee.typeName}`, printField(extension, labelOf(extension), registry));
}

function printField(field: DescField | DescExtension, label: string, registry: Registry): string[] {
  const { name, number, type, typeName, defaultValue, options } = field.proto;
  if (field.fieldKind === 'map' || type === Type.GROUP || defaultValue !== '')
    throw new Error(`${field.toString()} is a map or group or has a default value`);
  const typeText = typeName || Type[type].toLowerCase();
  return [`${label}${typeText} ${name} = ${number}${inlineOptions(FieldOptionsSchema, options, registry)};`];
}

function labelOf({ proto }: DescField | DescExtension): string {
  return `${Label[proto.label].toLowerCase()} `;
}

function range(first: number, last: number): string {
  return `${first} to ${last === FIELD_NUMBER_MAX ? 'max' : last}`;
}

function block(head: string, body: string[]): string[] {
  return [`${head} {`, ...body.map((line) => `  ${line}`), '}'];
}

function optionLines<Desc extends DescMessage>(
  schema: Desc,
  options: MessageShape<Desc> | undefined,
  registry: Registry,
): string[] {
  return printOptions(schema, options, registry).map((option) => `option ${option};`);
}

function inlineOptions<Desc extends DescMessage>(
  schema: Desc,
  options: MessageShape<Desc> | undefined,
  registry: Registry,
): string {
  const printed = printOptions(schema, options, registry);
  return printed.length === 0 ? '' : ` [${printed.join(', ')}]`;
}

/**
 * Print each option as `name = value`, extensions as `(name) = value`.
 *
 * An option's value is written in the text format, where a message of options
 * has one field per unindented line (`name: value`, `[name] {`) and closes a
 * nested message with an unindented brace.
 */
function printOptions<Desc extends DescMessage>(
  schema: Desc,
  options: MessageShape<Desc> | undefined,
  registry: Registry,
): string[] {
  if (options === undefined) return [];
  return toText(schema, options, { registry })
    .trimEnd()
    .split(/\n(?=[a-z[])/)
    .filter((field) => field !== '')
    .map((field) => field.replace(/^\[([\w.]+)\]:? /, '($1) = ').replace(/^(\w+):? /, '$1 = '));
}
