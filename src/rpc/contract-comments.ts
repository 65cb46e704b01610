import type {
  DescEnum,
  DescEnumValue,
  DescExtension,
  DescField,
  DescMessage,
  DescMethod,
  DescOneof,
  DescService,
} from '@bufbuild/protobuf';
import type { DescriptorProto, EnumDescriptorProto, FileDescriptorSet } from '@bufbuild/protobuf/wkt';

/** What a comment in the contract is about. */
export type Commented =
  | DescMessage
  | DescField
  | DescOneof
  | DescEnum
  | DescEnumValue
  | DescService
  | DescMethod
  | DescExtension;

/** The comment above a declaration of the contract: Markdown, its lines as they are written there. */
export type CommentOf = (desc: Commented) => string;

/**
 * The comments of a contract by its image, since generated code has them as JSDoc only. What is returned throws for a
 * declaration without a comment.
 */
export function commentsOf({ file: files }: FileDescriptorSet): CommentOf {
  const comments = new Map<string, string>();
  for (const { package: prefix, sourceCodeInfo, ...file } of files) {
    const named = new Map<string, string>();
    const add = (name: string, path: readonly number[]) => void named.set(path.join('.'), name);
    const addEnum = ({ name, value }: EnumDescriptorProto, scope: string, path: readonly number[]) => {
      add(`${scope}.${name}`, path);
      value.forEach((each, i) => add(`${scope}.${name}.${each.name}`, [...path, 2, i]));
    };
    const addMessage = (message: DescriptorProto, scope: string, path: readonly number[]) => {
      const name = `${scope}.${message.name}`;
      add(name, path);
      message.field.forEach((field, i) => add(`${name}.${field.name}`, [...path, 2, i]));
      message.oneofDecl.forEach((oneof, i) => add(`${name}.${oneof.name}`, [...path, 8, i]));
      message.nestedType.forEach((nested, i) => addMessage(nested, name, [...path, 3, i]));
      message.enumType.forEach((nested, i) => addEnum(nested, name, [...path, 4, i]));
    };
    // The numbers are those of the fields of FileDescriptorProto and the messages in it.
    file.messageType.forEach((message, i) => addMessage(message, prefix, [4, i]));
    file.enumType.forEach((each, i) => addEnum(each, prefix, [5, i]));
    file.service.forEach((service, i) => {
      add(`${prefix}.${service.name}`, [6, i]);
      service.method.forEach((method, j) => add(`${prefix}.${service.name}.${method.name}`, [6, i, 2, j]));
    });
    file.extension.forEach((extension, i) => add(`${prefix}.${extension.name}`, [7, i]));
    for (const { path, leadingComments } of sourceCodeInfo?.location ?? []) {
      const name = named.get(path.join('.'));
      if (name !== undefined) comments.set(name, leadingComments.replaceAll(/^ /gm, '').trim());
    }
  }
  return (desc) => {
    const name = fullNameOf(desc);
    const comment = comments.get(name);
    if (!comment) throw new Error(`${name} has no comment`);
    return comment;
  };
}

/** The name of a declaration, with that of what it is in. */
function fullNameOf(desc: Commented): string {
  switch (desc.kind) {
    case 'enum_value':
    case 'field':
    case 'oneof':
    case 'rpc':
      return `${desc.parent.typeName}.${desc.name}`;
    default:
      return desc.typeName;
  }
}

/** A comment as one line of each paragraph: line breaks of the source are none of the text. Lists stay. */
export function unwrapped(comment: string): string {
  return comment.replaceAll(/(\S)\n(?!\n|[-*] )\s*/g, '$1 ');
}

/** The first sentence of a comment, as one line, without what follows a colon. */
export function firstSentence(comment: string): string {
  const [paragraph = ''] = unwrapped(comment).split('\n');
  return /^.*?[^.]\.(?= [A-Z]|$)/.exec(paragraph)?.[0] ?? paragraph;
}
