import type { Caller } from '../kernel/access.ts';
import { type PartRefusal, toPartRefusal } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import type { ResponseFormat } from '../storage/idempotency.ts';
import type { Contact } from './contact.ts';
import { type ContactsApp, createWithin, type NewContact } from './contacts.ts';

/** What came of one contact of a batch. */
export type BatchResult<Response> =
  | { readonly status: 'created'; readonly response: Response }
  | Refused
  | { readonly status: 'left_out' };

export interface Refused {
  readonly status: 'refused';
  readonly refusal: PartRefusal;
}

/** How many contacts one transaction writes: others write in between, and a stop waits no longer. */
const STEP_CONTACTS = 50;

/**
 * Creates contacts of the caller's, and says of each what came of it. They are written in steps of STEP_CONTACTS, each
 * in a transaction; or, all or nothing, in one, and not at all if one is refused.
 */
export async function createContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  contacts: readonly (NewContact | Refused)[],
  { allOrNothing, format }: { readonly allOrNothing: boolean; readonly format: ResponseFormat<Contact, Response> },
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const create = (some: readonly (NewContact | Refused)[]) =>
    app.database.transaction(async (tx) => {
      const results: BatchResult<Response>[] = [];
      for (const contact of some) results.push(await createOne(tx, app, caller, contact, format));
      if (allOrNothing && results.some(({ status }) => status === 'refused')) throw new NotAll(results);
      return results;
    }, caller.userId);
  if (allOrNothing) return createAll(() => create(contacts));
  const results: BatchResult<Response>[] = [];
  for (let start = 0; start < contacts.length; start += STEP_CONTACTS) {
    signal?.throwIfAborted();
    results.push(...(await create(contacts.slice(start, start + STEP_CONTACTS))));
  }
  return results;
}

/** Thrown to undo what the transaction wrote. */
class NotAll<Response> extends Error {
  readonly results: readonly BatchResult<Response>[];

  constructor(results: readonly BatchResult<Response>[]) {
    super('not all were created');
    this.results = results;
  }
}

async function createAll<Response>(create: () => Promise<BatchResult<Response>[]>): Promise<BatchResult<Response>[]> {
  try {
    return await create();
  } catch (error) {
    if (!(error instanceof NotAll)) throw error;
    const results = error.results as readonly BatchResult<Response>[];
    return results.map((result) => (result.status === 'refused' ? result : { status: 'left_out' }));
  }
}

async function createOne<Response>(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  contact: NewContact | Refused,
  format: ResponseFormat<Contact, Response>,
): Promise<BatchResult<Response>> {
  if ('status' in contact) return contact;
  try {
    return { status: 'created', response: await createWithin(tx, app, caller, contact, format) };
  } catch (error) {
    return { status: 'refused', refusal: toPartRefusal(error) };
  }
}
