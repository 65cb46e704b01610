import type { DescEnum, DescField, DescMessage, DescMethod } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';

/** The messages, and all messages of the contract that they can hold, each once, in the order in which they are met. */
export function messagesFrom(roots: readonly DescMessage[]): DescMessage[] {
  const found = new Set<DescMessage>();
  const add = (desc: DescMessage): void => {
    if (found.has(desc) || isWellKnown(desc)) return;
    found.add(desc);
    for (const { message } of desc.fields) if (message !== undefined) add(message);
  };
  roots.forEach(add);
  return [...found];
}

/** The enums that messages hold, each once. */
export function enumsOf(messages: readonly DescMessage[]): DescEnum[] {
  const enums = messages.flatMap(({ fields }) => fields.map((field) => field.enum));
  return [...new Set(enums.filter((desc) => desc !== undefined))];
}

/** Of google.protobuf: they have forms of their own in JSON. */
export function isWellKnown({ typeName }: DescMessage): boolean {
  return typeName.startsWith('google.protobuf.');
}

/** Whether a field may be absent, and that is told from having the value that is nothing. */
export function hasPresence(field: DescField): boolean {
  return (
    field.fieldKind === 'message' ||
    field.oneof !== undefined ||
    (field.fieldKind !== 'list' && field.fieldKind !== 'map' && field.proto.proto3Optional)
  );
}

/** Whether a method changes nothing, so that Connect serves it over GET as well. */
export function isRead({ idempotency }: DescMethod): boolean {
  return idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}
