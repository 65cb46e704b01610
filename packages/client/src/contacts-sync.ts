import { clone, toBinary } from '@bufbuild/protobuf';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import {
  type ConflictResolution,
  type ContactConflict,
  conflictOf,
  createAnew,
  isSameConflict,
  settle,
} from './contact-conflict.ts';
import { changedFields, createRequest, threeWay, updateRequest, withFields } from './contact-fields.ts';
import {
  type Change,
  type ContactRecord,
  encodeRecord,
  type NextStep,
  nextStep,
  type Sent,
  UID_PREFIX,
  uidOf,
} from './contact-record.ts';
import type { ContactsCopy } from './contacts-copy.ts';
import { type Contact, ContactSchema } from './gen/kith/contact/v1/contact_pb.ts';
import {
  type ContactResult,
  ContactService,
  ContactStatus,
  type SyncContactsResponse,
} from './gen/kith/contact/v1/contact_service_pb.ts';
import { type Label, LabelSchema, LabelService } from './gen/kith/contact/v1/label_service_pb.ts';
import { KithError } from './kith-error.ts';
import { isTransient } from './retries.ts';
import { randomUuid } from './uuid.ts';

export type OnConflict = (conflict: ContactConflict) => ConflictResolution | Promise<ConflictResolution>;

const PAGE_SIZE = 200;

/** What one call changes at the most: contacts, and bytes of them as they are stored. */
const BATCH = { contactsMax: 100, bytesMax: 200_000 };

/** How often one synchronisation reads and writes at the most: while others change the same contacts, there is always more. */
const ROUNDS_MAX = 20;

/** Brings a copy up to date, and sends its changes, until there is nothing more. */
export async function synchronise(
  copy: ContactsCopy,
  transport: Transport,
  onConflict: OnConflict | undefined,
  signal: AbortSignal,
): Promise<void> {
  const sync = new Synchronisation(copy, transport, onConflict, signal);
  try {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      await sync.pull();
      if (!(await sync.push())) return;
    }
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  }
}

type Sending = Extract<NextStep, { readonly change: Change }>;

class Synchronisation {
  readonly #copy: ContactsCopy;
  readonly #contacts: Client<typeof ContactService>;
  readonly #labels: Client<typeof LabelService>;
  readonly #onConflict: OnConflict | undefined;
  readonly #signal: AbortSignal;

  constructor(copy: ContactsCopy, transport: Transport, onConflict: OnConflict | undefined, signal: AbortSignal) {
    this.#copy = copy;
    this.#contacts = createClient(ContactService, transport);
    this.#labels = createClient(LabelService, transport);
    this.#onConflict = onConflict;
    this.#signal = signal;
  }

  /** Makes a call, whose failure is a KithError. */
  async #call<T>(call: (options: { readonly signal: AbortSignal }) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    let answer: T;
    try {
      answer = await call({ signal: this.#signal });
    } catch (thrown) {
      throw KithError.from(thrown);
    }
    this.#signal.throwIfAborted();
    return answer;
  }

  async pull(): Promise<void> {
    for (let hasMore = true; hasMore; ) {
      const { cursor } = this.#copy.state;
      try {
        const page = await this.#call((options) =>
          this.#contacts.syncContacts({ cursor, pageSize: PAGE_SIZE }, options),
        );
        // Where everything was removed meanwhile, it is read from the beginning.
        hasMore = !(await this.#takePage(page, cursor)) || page.hasMore;
      } catch (error) {
        const { reason } = error as KithError;
        if (reason !== 'CURSOR_EXPIRED' && !(reason === 'CURSOR_INVALID' && cursor !== '')) throw error;
        // What is there stays to be seen until all contacts are read, and changes that wait stay.
        await this.#copy.transact([], ({ state, setState }) =>
          setState({ cursor: '', isListing: true, generation: state.generation + 1, areLabelsStale: true }),
        );
      }
    }
    if (this.#copy.state.areLabelsStale) await this.#pullLabels();
  }

  async #pullLabels(): Promise<void> {
    const labels: Label[] = [];
    let pageToken = '';
    do {
      const page = await this.#call((options) => this.#labels.listLabels({ pageSize: 1000, pageToken }, options));
      labels.push(...page.labels);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    await this.#copy.transact([], ({ setState }) =>
      setState({ labels: labels.map((label) => toBinary(LabelSchema, label)), areLabelsStale: false }),
    );
  }

  /** Takes in what follows a cursor. Tells whether that is still the one that the copy has. */
  async #takePage(
    { contacts, tombstones, labelsChanged, nextCursor, hasMore }: SyncContactsResponse,
    cursor: string,
  ): Promise<boolean> {
    const { records, state } = this.#copy;
    const ids = new Set(tombstones.map(({ contactId }) => contactId));
    for (const { id, uid } of contacts) {
      ids.add(id);
      if (uid.startsWith(UID_PREFIX)) ids.add(uid.slice(UID_PREFIX.length));
    }
    if (!hasMore) {
      for (const { id, answered, generation } of records.values())
        if (answered !== undefined || (state.isListing && generation < state.generation)) ids.add(id);
    }
    let isNext = false;
    await this.#copy.transact([...ids], (step) => {
      isNext = step.state.cursor === cursor;
      if (!isNext) return;
      const { generation, isListing } = step.state;
      const taken = new Set<string>();
      for (const contact of contacts) {
        taken.add(contact.id);
        const uidId = contact.uid.slice(UID_PREFIX.length);
        const own = contact.uid === uidOf(uidId) ? step.records.get(uidId) : undefined;
        const { change } = own ?? {};
        if (
          own !== undefined &&
          change?.base === undefined &&
          change?.sent?.mine !== undefined &&
          own.id !== contact.id
        ) {
          // It was created by a request whose answer was lost.
          taken.add(own.id);
          step.rename(own.id, created(own, change, change.sent.mine, contact, undefined, generation));
        } else {
          const { change: kept } = step.records.get(contact.id) ?? {};
          step.put({ id: contact.id, generation, theirs: contact, change: kept });
        }
      }
      for (const { contactId, mergedIntoContactId } of tombstones) {
        taken.add(contactId);
        const record = step.records.get(contactId);
        if (record === undefined) continue;
        const mergedInto = record.change && (mergedIntoContactId || undefined);
        step.put({ id: contactId, generation, theirs: undefined, mergedInto, change: record.change });
      }
      if (!hasMore) {
        for (const record of step.records.values()) {
          if (taken.has(record.id)) continue;
          const isGone = isListing && record.generation < generation;
          step.put({ ...record, generation, answered: undefined, ...(isGone && { theirs: undefined }) });
        }
      }
      step.setState({
        cursor: nextCursor,
        isListing: isListing && hasMore,
        areLabelsStale: step.state.areLabelsStale || labelsChanged,
      });
    });
    if (!isNext) await this.#copy.refresh();
    return isNext;
  }

  /** Sends what waits. Tells whether something came of it, so that there is more to read. */
  async push(): Promise<boolean> {
    await this.#tellConflicts();
    const settled: string[] = [];
    const batches: { kind: Sending['kind']; ids: string[]; bytes: number }[] = [];
    for (const record of this.#waiting()) {
      const { kind } = nextStep(record, record.change!);
      if (kind === 'settled') settled.push(record.id);
      if (kind === 'settled' || kind === 'conflict') continue;
      const bytes = sizeOf(record);
      const last = batches.at(-1);
      const hasRoom =
        last?.kind === kind && last.ids.length < BATCH.contactsMax && last.bytes + bytes <= BATCH.bytesMax;
      if (hasRoom && kind !== 'restore') {
        last.ids.push(record.id);
        last.bytes += bytes;
      } else batches.push({ kind, ids: [record.id], bytes });
    }
    if (settled.length > 0) {
      await this.#copy.transact(settled, (step) => {
        for (const record of step.records.values())
          if (record.change !== undefined && nextStep(record, record.change).kind === 'settled')
            step.put({ ...record, change: undefined, mergedInto: undefined });
      });
    }
    for (const { kind, ids } of batches) await this.#send(kind, ids);
    return batches.length > 0;
  }

  /** The records whose changes are to be sent, or told, in the order of the changes. */
  #waiting(): ContactRecord[] {
    return inOrder([...this.#copy.records.values()].filter(isWaiting));
  }

  async #tellConflicts(): Promise<void> {
    const find = (id: string) => this.#copy.records.get(id);
    for (const { id } of this.#waiting()) {
      const record = find(id);
      const conflict = record && conflictOf(record, find);
      if (conflict === undefined) continue;
      const how = (await this.#onConflict?.(conflict)) ?? 'later';
      this.#signal.throwIfAborted();
      await this.#copy.transact([id, ...(conflict.mergedInto === undefined ? [] : [conflict.mergedInto])], (step) => {
        const now = step.records.get(id);
        // Changed meanwhile, or settled in another tab: told again if there is still something to tell.
        if (
          now &&
          isSameConflict(
            conflict,
            conflictOf(now, (other) => step.records.get(other)),
          )
        )
          settle(step, conflict, how);
      });
    }
  }

  /** Notes what is sent, sends it, and notes what came of it. */
  async #send(kind: Sending['kind'], ids: readonly string[]): Promise<void> {
    if (kind === 'restore') return this.#restore(ids[0]!);
    const sent: { readonly id: string; readonly base: Contact | undefined; readonly sent: Sent }[] = [];
    await this.#copy.transact(ids, (step) => {
      for (const id of ids) {
        const record = step.records.get(id);
        const next = record?.change && nextStep(record, record.change);
        if (record === undefined || next?.kind !== kind) continue;
        const { change } = next;
        const sending = change.sent ?? { requestId: randomUuid(), mine: change.mine };
        sent.push({ id, base: change.base, sent: sending });
        if (change.sent === undefined) step.put({ ...record, change: { ...change, sent: sending } });
      }
    });
    if (sent.length === 0) return;
    const results = await this.#call(async (options) => {
      if (kind === 'create') {
        const contacts = sent.map(({ sent: { mine, requestId } }) => createRequest(mine!, requestId));
        return (await this.#contacts.batchCreateContacts({ contacts }, options)).results;
      }
      if (kind === 'update') {
        const contacts = sent.map(({ base, sent: { mine, requestId } }) =>
          updateRequest(base!, this.#withoutDeletedLabels(base!, mine!), requestId),
        );
        return (await this.#contacts.batchUpdateContacts({ contacts }, options)).results;
      }
      const contacts = sent.map(({ base }) => ({ contactId: base!.id, etag: base!.etag }));
      return (await this.#contacts.batchDeleteContacts({ contacts }, options)).results;
    });
    const others = results.map(({ contact }) => contact?.id ?? '').filter((id) => id !== '');
    let unanswered: KithError | undefined;
    await this.#copy.transact([...new Set([...ids, ...others])], (step) => {
      for (const [i, { id, sent: sending }] of sent.entries()) {
        const record = step.records.get(id);
        if (record === undefined) continue;
        const result = results[i]!;
        const outcome = outcomeOf(
          record,
          sending,
          result,
          step.records.get(result.contact?.id ?? ''),
          step.state.generation,
        );
        if (outcome instanceof KithError) unanswered = outcome;
        else if (outcome.id === id) step.put(outcome);
        else step.rename(id, outcome);
      }
    });
    if (unanswered !== undefined) throw unanswered;
  }

  /** Labels that are deleted are in the copy, for when they are undeleted, and must not be sent. */
  #withoutDeletedLabels(base: Contact, mine: Contact): Contact {
    if (!changedFields(base, mine).includes('labelIds')) return mine;
    const known = this.#copy.knownLabels();
    if (known === undefined) return mine;
    const labelIds = mine.labelIds.filter((id) => known.has(id) || !base.labelIds.includes(id));
    return withFields(mine, { labelIds });
  }

  /** Brings a contact back that was deleted elsewhere, so that it can be changed. */
  async #restore(id: string): Promise<void> {
    let refusal: KithError | undefined;
    let restored: Contact | undefined;
    try {
      restored = (await this.#call((options) => this.#contacts.undeleteContact({ contactId: id }, options))).contact;
    } catch (thrown) {
      this.#signal.throwIfAborted();
      refusal = thrown as KithError;
      if (!RESTORE_REFUSALS.has(refusal.reason ?? '')) throw refusal;
    }
    await this.#copy.transact([id], (step) => {
      const record = step.records.get(id);
      const change = record?.change;
      if (record === undefined || change === undefined) return;
      if (restored !== undefined && change.base !== undefined && change.mine !== undefined) {
        const mine = threeWay(change.base, change.mine, restored).merged;
        step.put({
          ...record,
          answered: { contact: restored },
          change: { ...change, base: restored, mine, restores: undefined },
        });
      } else if (refusal?.reason === 'CONTACT_NOT_FOUND') {
        // Gone for good: it is created anew.
        if (change.mine === undefined) step.put({ ...record, change: undefined });
        else createAnew(step, record, change.mine);
      } else if (refusal?.reason === 'CONTACT_MERGED') {
        step.put({ ...record, mergedInto: refusal.metadata['contact_id'], change: { ...change, restores: undefined } });
      }
      // Not deleted any more: what comes next has it.
    });
  }
}

/** Records with changes, in the order in which these were made. */
export function inOrder(records: ContactRecord[]): ContactRecord[] {
  // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is of ES2023
  return records.sort((a, b) => a.change!.order - b.change!.order);
}

/** Whether there is something to send, or to tell, of a record: not while a conflict is left for later. */
export function isWaiting(record: ContactRecord): boolean {
  const { change, answered, theirs } = record;
  if (change === undefined || answered !== undefined || change.refused !== undefined) return false;
  return change.conflict?.etag !== (theirs?.etag ?? '') || nextStep(record, change).kind !== 'conflict';
}

const RESTORE_REFUSALS: ReadonlySet<string> = new Set(['CONTACT_NOT_FOUND', 'CONTACT_MERGED', 'RESOURCE_NOT_DELETED']);

function sizeOf(record: ContactRecord): number {
  const { change } = encodeRecord({ ...record, theirs: undefined }) as { change?: { mine?: Uint8Array } };
  return (change?.mine?.length ?? 0) + 100;
}

/** What is left of a change, of which a part has reached the server, which answered this. */
function rest(change: Change, sent: Contact | undefined, answered: Contact): Change | undefined {
  const { order, mine } = change;
  if (mine === undefined) return sent === undefined ? undefined : { order, base: answered, mine };
  if (sent === undefined || changedFields(sent, mine).length === 0) return undefined;
  return { order, base: answered, mine: threeWay(sent, mine, answered).merged };
}

/** The record of a contact that was created by a request, as the server has it or has answered it. */
function created(
  record: ContactRecord,
  change: Change | undefined,
  sent: Contact,
  theirs: Contact | undefined,
  answer: Contact | undefined,
  generation: number,
): ContactRecord {
  const contact = theirs ?? answer!;
  // What others may have changed of it since is theirs.
  const began = clone(ContactSchema, sent);
  began.id = contact.id;
  return {
    ...record,
    id: contact.id,
    generation,
    theirs,
    answered: theirs === undefined ? { contact: answer } : undefined,
    change: change && rest(change, sent, isUntouched(contact) ? contact : began),
  };
}

/** Whether a contact is as it was created. */
function isUntouched({ createTime, updateTime }: Contact): boolean {
  return createTime?.seconds === updateTime?.seconds && createTime?.nanos === updateTime?.nanos;
}

/** What came of a request; an error where that is not known yet. */
function outcomeOf(
  record: ContactRecord,
  sent: Sent,
  { status, contact, refusal }: ContactResult,
  known: ContactRecord | undefined,
  generation: number,
): ContactRecord | KithError {
  const { change } = record;
  const answer = contact && whole(contact, sent.mine);
  if (status === ContactStatus.CREATED && answer !== undefined && sent.mine !== undefined) {
    const theirs = known?.id === record.id ? undefined : known?.theirs;
    return created(record, change, sent.mine, theirs, answer, generation);
  }
  if (status === ContactStatus.UPDATED && answer !== undefined)
    return { ...record, answered: { contact: answer }, change: change && rest(change, sent.mine, answer) };
  const error = refusal && KithError.ofRefusal(refusal);
  const isGone = error?.reason === 'RESOURCE_DELETED' || error?.reason === 'CONTACT_NOT_FOUND';
  if (status === ContactStatus.DELETED || (isGone && sent.mine === undefined))
    return { ...record, answered: { contact: undefined }, change: undefined };
  if (error === undefined) return { ...record, change: change && { ...change, sent: undefined } };
  if (isTransient(error.cause)) return error;
  const unsent = change && { ...change, sent: undefined };
  switch (error.reason) {
    case 'ETAG_MISMATCH':
    case 'RESOURCE_DELETED':
    case 'REQUEST_ID_REUSED':
      return { ...record, change: unsent };
    case 'CONTACT_NOT_FOUND':
      return { ...record, theirs: undefined, change: unsent };
    case 'CONTACT_MERGED':
      return { ...record, theirs: undefined, mergedInto: error.metadata['contact_id'], change: unsent };
    default: {
      const { reason, message, violations } = error;
      return { ...record, change: unsent && { ...unsent, refused: { reason, message, violations } } };
    }
  }
}

/** The contact of an answer, which has no more than id and etag where the answers before it are long. */
function whole(contact: Contact, sent: Contact | undefined): Contact {
  if (contact.updateTime !== undefined || sent === undefined) return contact;
  const { id, etag } = contact;
  const copy = clone(ContactSchema, sent);
  return Object.assign(copy, { id, etag });
}
