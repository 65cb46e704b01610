import { clone, create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Contact, ContactSchema } from './gen/kith/contact/v1/contact_pb.ts';
import {
  type CreateContactRequest,
  CreateContactRequestSchema,
  type UpdateContactRequest,
  UpdateContactRequestSchema,
} from './gen/kith/contact/v1/contact_service_pb.ts';

/** The name of a field of a contact that a user sets. */
export type ContactFieldName = Exclude<keyof CreateContactRequest & keyof Contact, `$${string}`>;

/** Fields of a contact that a user sets. In a change, those that are present are changed; `birthday: null` clears it. */
export type ContactFields = Omit<
  Pick<Exclude<MessageInitShape<typeof ContactSchema>, Contact>, ContactFieldName>,
  'birthday'
> & {
  readonly birthday?: Exclude<MessageInitShape<typeof ContactSchema>, Contact>['birthday'] | null;
};

/** Every field that a user sets: CreateContact takes them, and `phone_region` and `request_id` beside. */
const NAMES = CreateContactRequestSchema.fields
  .map(({ localName }) => localName)
  .filter((name): name is ContactFieldName => name in ContactSchema.field);

type Values = Record<ContactFieldName, unknown>;

export const decodeContact = (bytes: Uint8Array): Contact => fromBinary(ContactSchema, bytes);
export const encodeContact = (contact: Contact): Uint8Array => toBinary(ContactSchema, contact);

/** A contact with other fields, beside the one that is given. */
export function withFields(contact: Contact, fields: ContactFields): Contact {
  const { $typeName: _, ...old } = contact;
  const given: Record<string, unknown> = {};
  for (const name of NAMES) {
    const value = (fields as Partial<Values>)[name];
    if (value !== undefined) given[name] = value ?? undefined;
  }
  return clone(ContactSchema, create(ContactSchema, { ...old, ...given }));
}

/** The fields in which two contacts differ. What the server alone sets is no difference. */
export function changedFields(one: Contact, other: Contact): ContactFieldName[] {
  return NAMES.filter((name) => !isSame(name, one, other));
}

function isSame(name: ContactFieldName, one: Contact, other: Contact): boolean {
  const [a, b] = [one[name], other[name]];
  return a === b || (typeof a === 'object' && typeof b === 'object' && plain(name, a) === plain(name, b));
}

/** What a field says, as text: without what the server adds to it, and with a primary entry where it makes one. */
function plain(name: ContactFieldName, value: object): string {
  if (!Array.isArray(value)) return JSON.stringify(value);
  // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is of ES2023
  if (name === 'labelIds') return JSON.stringify([...(value as string[])].sort());
  const entries = value as ({ readonly primary?: boolean } | string)[];
  const chosen = entries.findIndex((entry) => typeof entry === 'object' && entry.primary === true);
  return JSON.stringify(
    entries.map((entry, i) =>
      typeof entry === 'string' || !('primary' in entry)
        ? entry
        : { ...entry, valid: undefined, e164: undefined, primary: i === Math.max(chosen, 0) },
    ),
  );
}

/** What becomes of two changes of one contact. */
export interface ThreeWay {
  /** The changes of both sides; of fields in conflict, mine. */
  readonly merged: Contact;
  /** The fields that both sides changed, and not to the same. */
  readonly conflicts: readonly ContactFieldName[];
}

/**
 * Puts mine and theirs together, of which both came from the base. A list is one field, so that no entry is lost that
 * one side has changed and the other one removed; labels are a set, in which each is added or taken by itself.
 */
export function threeWay(base: Contact, mine: Contact, theirs: Contact): ThreeWay {
  const fields: Partial<Values> = {};
  const conflicts: ContactFieldName[] = [];
  for (const name of changedFields(base, mine)) {
    if (name === 'labelIds') fields[name] = mergedSet(base.labelIds, mine.labelIds, theirs.labelIds);
    else {
      if (!isSame(name, base, theirs) && !isSame(name, mine, theirs)) conflicts.push(name);
      fields[name] = mine[name] ?? null;
    }
  }
  return { merged: withFields(theirs, fields as ContactFields), conflicts };
}

function mergedSet(base: readonly string[], mine: readonly string[], theirs: readonly string[]): string[] {
  const kept = theirs.filter((id) => mine.includes(id) || !base.includes(id));
  return [...kept, ...mine.filter((id) => !base.includes(id) && !theirs.includes(id))];
}

/** Some fields of a contact, as a change of another one. */
export function fieldsOf(contact: Contact, names: readonly ContactFieldName[] = NAMES): ContactFields {
  return Object.fromEntries(names.map((name) => [name, contact[name] ?? null]));
}

/** The request that creates a contact with these fields. */
export function createRequest(contact: Contact, requestId: string): CreateContactRequest {
  const fields = Object.fromEntries(NAMES.map((name) => [name, contact[name]]));
  return create(CreateContactRequestSchema, { ...fields, requestId });
}

/** The request that makes a contact of its base what it is to be, if it still has the etag of the base. */
export function updateRequest(base: Contact, mine: Contact, requestId: string): UpdateContactRequest {
  const changes: Record<string, unknown> = {};
  for (const name of changedFields(base, mine)) {
    const field = UpdateContactRequestSchema.field[name];
    const wrapper = field?.fieldKind === 'message' ? field.message.fields[0]!.localName : undefined;
    changes[name] = wrapper === undefined ? mine[name] : { [wrapper]: mine[name] };
  }
  return create(UpdateContactRequestSchema, { ...changes, contactId: base.id, etag: base.etag, requestId });
}
