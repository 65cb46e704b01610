import type { Client } from '@connectrpc/connect';
import { expect } from 'vitest';
import type { Random } from '../../check/random.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactField, ContactService, type EarlierContact } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { refusalOf } from './kith.ts';

/** Fields of one value, and lists, with values few enough to be the same at times. */
const ONE = {
  givenName: 'GIVEN_NAME',
  familyName: 'FAMILY_NAME',
  jobTitle: 'JOB_TITLE',
  pronouns: 'PRONOUNS',
} as const;
const LISTS = { emails: 'EMAILS', languages: 'LANGUAGES', relations: 'RELATIONS' } as const;
const ENTRIES = ['a', 'b', 'c', 'd', 'e', 'f'];

type One = keyof typeof ONE;
type List = keyof typeof LISTS;
/** What a contact has: texts, and lists as sets of their entries. */
interface Fields extends Record<One, string>, Record<List, ReadonlySet<string>> {
  readonly company: string;
  readonly starred: boolean;
  readonly notes: string;
}

interface Merge {
  readonly mergedIds: readonly string[];
  readonly before: Fields;
  readonly after: Fields;
}

/** A contact as it should be. */
interface Modelled {
  fields: Fields;
  state: 'live' | 'deleted' | 'merged';
  /** Whose part it is. */
  into: string;
  /** The merges into it that can be taken back, the last one at the end. */
  readonly merges: Merge[];
  /** What it was before each of its changes, the last one at the end. */
  readonly history: Fields[];
}

const names = <Name extends string>(fields: Readonly<Record<Name, unknown>>) => Object.keys(fields) as Name[];

/** Whether all paragraphs of a note follow one another in another, longer one. */
function isPart(note: string, other: string): boolean {
  if (note === '') return other !== '';
  const [some, all] = [note.split('\n\n'), other.split('\n\n')];
  return some.length < all.length && all.some((_, i) => some.every((paragraph, n) => all[i + n] === paragraph));
}

/** What the contract says of merging, written down a second time. */
function mergedFields(
  all: readonly Fields[],
  chosen: ReadonlyMap<string, number>,
  prefersOwn: boolean,
): Fields | string[] {
  const undecided: string[] = [];
  const one = (name: One): string => {
    if (chosen.has(name)) return all[chosen.get(name)!]![name];
    const values = new Set(all.map((fields) => fields[name]).filter((value) => value !== ''));
    if (values.size > 1 && !prefersOwn) undecided.push(ONE[name].toLowerCase());
    return [...values][0] ?? '';
  };
  const list = (name: List): ReadonlySet<string> =>
    chosen.has(name) ? all[chosen.get(name)!]![name] : new Set(all.flatMap((fields) => [...fields[name]]));
  const fields = {
    ...(Object.fromEntries(names(ONE).map((name) => [name, one(name)])) as Record<One, string>),
    ...(Object.fromEntries(names(LISTS).map((name) => [name, list(name)])) as unknown as Record<
      List,
      ReadonlySet<string>
    >),
    company: 'Model',
    starred: all.some(({ starred }) => starred),
    notes: all
      .map(({ notes }) => notes)
      .filter((note, i, notes) => notes.indexOf(note) === i && !notes.some((other) => isPart(note, other)))
      .join('\n\n'),
  };
  return undecided.length > 0 ? undecided : fields;
}

function unmergedFields({ before, after }: Merge, now: Fields): Fields {
  const one = <T>(was: T, became: T, is: T) => (became === is ? was : is);
  const list = (name: List) => {
    const [was, became, is] = [before[name], after[name], now[name]];
    return was.difference(became.difference(is)).union(is.difference(became));
  };
  return {
    ...(Object.fromEntries(names(ONE).map((name) => [name, one(before[name], after[name], now[name])])) as Record<
      One,
      string
    >),
    ...(Object.fromEntries(names(LISTS).map((name) => [name, list(name)])) as unknown as Record<
      List,
      ReadonlySet<string>
    >),
    company: 'Model',
    starred: one(before.starred, after.starred, now.starred),
    notes: one(before.notes, after.notes, now.notes),
  };
}

const entriesOf: { readonly [Name in List]: (contact: Contact) => string[] } = {
  emails: ({ emails }) => emails.map(({ address }) => address.split('@', 1)[0]!),
  languages: ({ languages }) => languages,
  relations: ({ relations }) => relations.map(({ name }) => name),
};

function fieldsOf(contact: Contact): Fields {
  const { givenName, familyName, jobTitle, pronouns, company, starred, notes } = contact;
  const lists = names(LISTS).map((name) => {
    const entries = entriesOf[name](contact);
    expect(new Set(entries)).toHaveLength(entries.length);
    return [name, new Set(entries)] as const;
  });
  const shown = Object.fromEntries(lists) as unknown as Record<List, ReadonlySet<string>>;
  return { givenName, familyName, jobTitle, pronouns, company, starred, notes, ...shown };
}

function expectSame(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}

async function expectRefusal(call: Promise<unknown>, refusal: object): Promise<void> {
  expect(await refusalOf(call)).toMatchObject(refusal);
}

/** A user's contacts and what they should be. */
export class Book {
  readonly #client: Client<typeof ContactService>;
  readonly #random: Random;
  readonly #model = new Map<string, Modelled>();
  readonly #etags = new Map<string, string>();

  constructor(client: Client<typeof ContactService>, random: Random) {
    this.#client = client;
    this.#random = random;
  }

  async step(): Promise<string> {
    const kinds = { create: 3, edit: 6, merge: 5, unmerge: 4, restore: 3, delete: 1, undelete: 1 };
    const kind = this.#model.size < 3 ? 'create' : this.#random.weighted(kinds);
    await this[kind]();
    return kind;
  }

  #pick(state: Modelled['state']): string | undefined {
    const ids = [...this.#model].filter(([, each]) => each.state === state).map(([id]) => id);
    return ids.length === 0 ? undefined : this.#random.pick(ids);
  }

  #text(values: readonly string[]): string {
    return this.#random.pick(['', '', ...values]);
  }

  #entries(): string[] {
    return ENTRIES.filter(() => this.#random.chance(0.3));
  }

  #someFields(): Fields {
    return {
      givenName: this.#text(['Ada', 'Augusta']),
      familyName: this.#text(['King', 'Lovelace']),
      jobTitle: this.#text(['Analyst', 'Countess']),
      pronouns: this.#text(['she/her']),
      company: 'Model',
      starred: this.#random.chance(0.2),
      notes: this.#text(['one', 'two', 'three']),
      emails: new Set(this.#entries()),
      languages: new Set(this.#entries()),
      relations: new Set(this.#entries()),
    };
  }

  #toRequest({ emails, languages, relations, ...rest }: Fields) {
    return {
      ...rest,
      emails: [...emails].map((name) => ({ address: `${name}@example.org` })),
      languages: [...languages],
      relations: [...relations].map((name) => ({ name })),
    };
  }

  #see(contact: Contact, modelled: Modelled): void {
    expectSame(fieldsOf(contact), modelled.fields);
    this.#etags.set(contact.id, contact.etag);
  }

  async create(): Promise<void> {
    const fields = this.#someFields();
    const { contact } = await this.#client.createContact(this.#toRequest(fields));
    const modelled: Modelled = { fields, state: 'live', into: '', merges: [], history: [] };
    this.#model.set(contact!.id, modelled);
    this.#see(contact!, modelled);
  }

  async edit(): Promise<void> {
    const contactId = this.#pick('live');
    if (contactId === undefined) return;
    const modelled = this.#model.get(contactId)!;
    const changed = this.#someFields();
    const some = names(changed).filter((name) => name !== 'company' && this.#random.chance(0.3));
    const pick = <T extends object>(from: T) =>
      Object.fromEntries(some.map((name) => [name, from[name as unknown as keyof T]]));
    const { emails, languages, relations, ...rest } = this.#toRequest(changed);
    const lists = { emails: { values: emails }, languages: { values: languages }, relations: { values: relations } };
    const before = modelled.fields;
    modelled.fields = { ...before, ...pick(changed) };
    const etag = this.#etags.get(contactId)!;
    const { contact } = await this.#client.updateContact({ contactId, etag, ...pick({ ...rest, ...lists }) });
    if (contact!.etag !== etag) modelled.history.push(before);
    this.#see(contact!, modelled);
  }

  async restore(): Promise<void> {
    const contactId = this.#pick('live');
    if (contactId === undefined) return;
    const modelled = this.#model.get(contactId)!;
    const versions = await this.#expectHistory(contactId);
    if (versions.length === 0) return;
    const { version, contact: wanted } = this.#random.pick(versions);
    const etag = this.#etags.get(contactId)!;
    const before = modelled.fields;
    modelled.fields = fieldsOf(wanted!);
    const { contact } = await this.#client.restoreContactVersion({ contactId, version, etag });
    if (contact!.etag !== etag) modelled.history.push(before);
    this.#see(contact!, modelled);
  }

  /** Expects the versions of a contact to be what it was before each change. */
  async #expectHistory(contactId: string): Promise<readonly EarlierContact[]> {
    const { versions } = await this.#client.listContactVersions({ contactId, pageSize: 1000 });
    const shown = versions.map(({ contact }) => fieldsOf(contact!));
    expectSame(shown, this.#model.get(contactId)!.history.toReversed());
    return versions;
  }

  async merge(): Promise<void> {
    const ids = new Set<string>();
    for (let i = this.#random.int(2, 4); i > 0; i--)
      ids.add(this.#pick(this.#random.chance(0.95) ? 'live' : 'merged') ?? '');
    ids.delete('');
    if (ids.size < 2) return;
    const order = [...ids];
    const kept = this.#random.pick(order);
    const ordered = [kept, ...order.filter((id) => id !== kept)];
    const all = { ...ONE, ...LISTS };
    const chosen = new Map(
      names(all)
        .filter(() => this.#random.chance(0.3))
        .map((name) => [name, this.#random.int(0, ordered.length - 1)]),
    );
    const preferKept = this.#random.chance(0.5);
    const asked = this.#client.mergeContacts({
      contacts: order.map((contactId) => ({ contactId, etag: this.#etags.get(contactId)! })),
      keptContactId: kept,
      choices: [...chosen].map(([name, place]) => ({ field: ContactField[all[name]], contactId: ordered[place]! })),
      preferKept,
    });
    const modelled = ordered.map((id) => this.#model.get(id)!);
    const gone = order.find((id) => this.#model.get(id)!.state === 'merged');
    if (gone !== undefined) {
      await expectRefusal(asked, {
        reason: 'CONTACT_MERGED',
        metadata: { contact_id: this.#end(gone) },
      });
      return;
    }
    const after = mergedFields(
      modelled.map(({ fields }) => fields),
      chosen,
      preferKept,
    );
    if (Array.isArray(after)) {
      const { reason, metadata } = await refusalOf(asked);
      expectSame([reason, metadata['fields']?.split(' ').toSorted()], ['MERGE_CHOICE_MISSING', after.toSorted()]);
      return;
    }
    const [own, ...others] = modelled;
    for (const each of modelled) each.history.push(each.fields);
    own!.merges.push({ mergedIds: ordered.slice(1), before: own!.fields, after });
    own!.fields = after;
    for (const other of others) [other.state, other.into] = ['merged', kept];
    this.#see((await asked).contact!, own!);
  }

  async unmerge(): Promise<void> {
    const contactId = this.#random.chance(0.8)
      ? [...this.#model].find(([, { merges, state }]) => merges.length > 0 && state === 'live')?.[0]
      : this.#pick('live');
    if (contactId === undefined) return;
    const modelled = this.#model.get(contactId)!;
    const merge = modelled.merges.pop();
    const asked = this.#client.unmergeContact({ contactId });
    if (merge === undefined) {
      await expectRefusal(asked, { reason: 'CONTACT_NOT_MERGED' });
      return;
    }
    modelled.history.push(modelled.fields);
    modelled.fields = unmergedFields(merge, modelled.fields);
    for (const id of merge.mergedIds) this.#model.get(id)!.state = 'live';
    const { contact, restoredContactIds } = await asked;
    expectSame(restoredContactIds.toSorted(), merge.mergedIds.toSorted());
    this.#see(contact!, modelled);
    for (const id of merge.mergedIds) await this.#look(id);
  }

  async delete(): Promise<void> {
    const contactId = this.#pick('live');
    if (contactId === undefined) return;
    const modelled = this.#model.get(contactId)!;
    modelled.state = 'deleted';
    modelled.history.push(modelled.fields);
    this.#see((await this.#client.deleteContact({ contactId })).contact!, modelled);
  }

  async undelete(): Promise<void> {
    const contactId = this.#pick('deleted');
    if (contactId === undefined) return;
    this.#model.get(contactId)!.state = 'live';
    this.#see((await this.#client.undeleteContact({ contactId })).contact!, this.#model.get(contactId)!);
  }

  #end(id: string): string {
    const { state, into } = this.#model.get(id)!;
    return state === 'merged' ? this.#end(into) : id;
  }

  async #look(contactId: string): Promise<void> {
    const modelled = this.#model.get(contactId)!;
    const asked = this.#client.getContact({ contactId });
    if (modelled.state !== 'merged') {
      this.#see((await asked).contact!, modelled);
      return;
    }
    const leads = { reason: 'CONTACT_MERGED', metadata: { contact_id: this.#end(contactId) } };
    await expectRefusal(asked, leads);
  }

  async end(): Promise<void> {
    for (const [id, { state }] of this.#model) {
      await this.#look(id);
      if (state !== 'merged') await this.#expectHistory(id);
    }
    for (const deleted of [false, true]) {
      const listed = (await this.#client.listContacts({ deleted, pageSize: 1000 })).contacts.map(({ id }) => id);
      const expected = [...this.#model]
        .filter(([, { state }]) => state === (deleted ? 'deleted' : 'live'))
        .map(([id]) => id);
      expectSame(listed.toSorted(), expected.toSorted());
    }
  }
}
