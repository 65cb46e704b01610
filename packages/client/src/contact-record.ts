import { changedFields, type ContactFieldName, decodeContact, encodeContact, threeWay } from './contact-fields.ts';
import type { StoredItem } from './contacts-storage.ts';
import type { Contact } from './gen/kith/contact/v1/contact_pb.ts';

/** Why the server refused a change. */
export interface ChangeRefusal {
  /** As `KithError.reason` has it; undefined for one that is newer than this client. */
  readonly reason: string | undefined;
  readonly message: string;
  /** The fields in question, of FIELDS_INVALID. */
  readonly violations: readonly { readonly field: string; readonly rule: string; readonly message: string }[];
}

/** A change made here that the server may not have yet. */
export interface Change {
  /** Changes are sent in this order. */
  readonly order: number;
  /** What the change began with, as the server had it. Undefined: created here. */
  readonly base: Contact | undefined;
  /** What there is to be. Undefined: nothing, the contact is deleted here. */
  readonly mine: Contact | undefined;
  /** What was sent, from before it is sent until it is known what came of it. */
  readonly sent?: Sent | undefined;
  /** The contact is gone on the server, and is to be there again. */
  readonly restores?: boolean | undefined;
  /** A conflict that is not settled yet: the version of theirs that it is with, '' where it is gone. */
  readonly conflict?: { readonly etag: string } | undefined;
  readonly refused?: ChangeRefusal | undefined;
}

/** A request, from which the same one is made again. */
export interface Sent {
  readonly requestId: string;
  /** What the contact was to be. Undefined: deleted. */
  readonly mine: Contact | undefined;
}

/** What is known of a contact. */
export interface ContactRecord {
  readonly id: string;
  /** Of which reading of all contacts the server's version is. */
  readonly generation: number;
  /** The server's version, as SyncContacts answered it last. Undefined: there is none. */
  readonly theirs: Contact | undefined;
  /** What the server answered to a change, until SyncContacts is past that. `contact` is undefined of one that was deleted. */
  readonly answered?: { readonly contact: Contact | undefined } | undefined;
  /** The contact that it was merged into elsewhere, as long as a change of it is here. */
  readonly mergedInto?: string | undefined;
  readonly change?: Change | undefined;
}

/** What the whole copy is about. */
export interface CopyState {
  /** The format of what is stored. */
  readonly format: number;
  readonly cursor: string;
  /** Counts the times that all contacts are read anew. */
  readonly generation: number;
  /** Whether all contacts are being read, so that what has not come yet is not gone. */
  readonly isListing: boolean;
  /** The number of the next change. */
  readonly nextOrder: number;
  /** Labels, encoded; undefined while they were never read. */
  readonly labels: readonly Uint8Array[] | undefined;
  readonly areLabelsStale: boolean;
}

/** What the uid of a contact that was created here begins with; its id here follows. */
export const UID_PREFIX = 'urn:uuid:';
export const uidOf = (id: string) => UID_PREFIX + id;

export const FORMAT = 1;
export const STATE_KEY = 'state';
export const recordKey = (id: string) => `contact ${id}`;
export const aliasKey = (id: string) => `alias ${id}`;

export const FRESH_STATE: CopyState = {
  format: FORMAT,
  cursor: '',
  generation: 1,
  isListing: true,
  nextOrder: 1,
  labels: undefined,
  areLabelsStale: true,
};

/** What is to be seen of a contact; undefined for one that is not there. */
export function viewOf({ change, answered, theirs }: ContactRecord): Contact | undefined {
  if (change !== undefined) return change.mine;
  return answered === undefined ? theirs : answered.contact;
}

/** Whether nothing is known of the contact any more. */
export function isNothing({ change, answered, theirs }: ContactRecord): boolean {
  return change === undefined && theirs === undefined && answered?.contact === undefined;
}

const encoded = (contact: Contact | undefined) => contact && encodeContact(contact);
const decoded = (bytes: Uint8Array | undefined) => bytes && decodeContact(bytes);

interface StoredChange extends Omit<Change, 'base' | 'mine' | 'sent'> {
  readonly base?: Uint8Array | undefined;
  readonly mine?: Uint8Array | undefined;
  readonly sent?: { readonly requestId: string; readonly mine?: Uint8Array | undefined } | undefined;
}

interface StoredRecord extends StoredItem {
  readonly id: string;
  readonly generation: number;
  readonly theirs?: Uint8Array | undefined;
  readonly answered?: { readonly contact?: Uint8Array | undefined } | undefined;
  readonly mergedInto?: string | undefined;
  readonly change?: StoredChange | undefined;
}

export function encodeRecord({ id, generation, theirs, answered, mergedInto, change }: ContactRecord): StoredItem {
  const stored: StoredRecord = {
    key: recordKey(id),
    id,
    generation,
    theirs: encoded(theirs),
    answered: answered && { contact: encoded(answered.contact) },
    mergedInto,
    change: change && {
      ...change,
      base: encoded(change.base),
      mine: encoded(change.mine),
      sent: change.sent && { requestId: change.sent.requestId, mine: encoded(change.sent.mine) },
    },
  };
  return stored;
}

export function decodeRecord(item: StoredItem): ContactRecord {
  const { id, generation, theirs, answered, mergedInto, change } = item as StoredRecord;
  return {
    id,
    generation,
    theirs: decoded(theirs),
    answered: answered && { contact: decoded(answered.contact) },
    mergedInto,
    change: change && {
      ...change,
      base: decoded(change.base),
      mine: decoded(change.mine),
      sent: change.sent && { requestId: change.sent.requestId, mine: decoded(change.sent.mine) },
    },
  };
}

/** What to do with a change now. */
export type NextStep =
  /** Nothing is left to send. */
  | { readonly kind: 'settled' }
  | { readonly kind: 'create' | 'update' | 'delete' | 'restore'; readonly change: Change }
  /** Both sides changed the contact: these fields, or what one side deleted. */
  | { readonly kind: 'conflict'; readonly fields: readonly ContactFieldName[] };

/** What is next for a change, by what is known of the server's version: what was pulled after the last answer. */
export function nextStep({ theirs, mergedInto }: ContactRecord, change: Change): NextStep {
  const { base, mine, sent, restores } = change;
  if (sent !== undefined) {
    if (sent.mine === undefined) return { kind: 'delete', change };
    return { kind: base === undefined ? 'create' : 'update', change };
  }
  if (base === undefined) return mine === undefined ? { kind: 'settled' } : { kind: 'create', change };
  if (theirs === undefined) {
    if (mine === undefined) return mergedInto === undefined ? { kind: 'settled' } : { kind: 'conflict', fields: [] };
    const fields = changedFields(base, mine);
    if (fields.length === 0) return { kind: 'settled' };
    return restores === true ? { kind: 'restore', change } : { kind: 'conflict', fields };
  }
  if (mine === undefined) {
    // Also where no field differs: it may have been deleted and brought back.
    if (theirs.etag !== base.etag) return { kind: 'conflict', fields: changedFields(base, theirs) };
    return { kind: 'delete', change };
  }
  const { merged, conflicts } = threeWay(base, mine, theirs);
  if (conflicts.length > 0) return { kind: 'conflict', fields: conflicts };
  if (changedFields(theirs, merged).length === 0) return { kind: 'settled' };
  return { kind: 'update', change: { ...change, base: theirs, mine: merged, restores: undefined } };
}
