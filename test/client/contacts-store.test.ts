import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { createCalls } from '../../packages/client/src/calls-entry.ts';
import {
  type ContactConflict,
  type ContactsStorage,
  memoryStorage,
  type OnConflict,
  openContactsStore,
} from '../../packages/client/src/contacts-store-entry.ts';
import { purgeActivities } from '../../src/activity/log/purge.ts';
import { purgeResponses } from '../../src/storage/idempotency.ts';
import { databases } from '../support/databases.ts';
import { type Line, over, runSchedule } from '../support/contacts-schedule.ts';
import { sizeOf } from '../support/full-size.ts';
import { generator } from '../support/generator.ts';
import { grpc, type Kith, startKith } from '../support/kith.ts';
import { openApp, startOn } from '../support/stored.ts';

const SCHEDULES = sizeOf('KITH_SYNC_SCHEDULES', 20, 200);
const FIRST_SEED = Number(process.env['KITH_TEST_SEED'] ?? 1);
/** So many schedules leave their deleted contacts with one user. */
const PER_USER = 50;
/** So many schedules run at a time. */
const LANES = Math.min(8, SCHEDULES);
const DAY_MS = 24 * 60 * 60 * 1000;

vi.setConfig({ testTimeout: 60_000 + SCHEDULES * 200 });

let kith: Kith;
beforeAll(async () => {
  kith = await startKith();
});
afterAll(() => kith[Symbol.asyncDispose]());

/** A user, and the stores of devices. */
async function newUser(server: Kith = kith) {
  const { user, accessToken, refreshToken } = await server.user();
  const calls = createCalls(grpc(server.address), { credentials: { refreshToken }, attemptsMax: 1 });
  const told: ContactConflict[] = [];
  const line: Line = { isOffline: false, lost: 0, isExpired: false };
  return {
    user,
    accessToken,
    calls,
    told,
    line,
    client: server.client(ContactService, accessToken),
    labels: server.client(LabelService, accessToken),
    /** Of a device, whose calls go over the line. Conflicts are left for later unless it says otherwise. */
    open: (onConflict: OnConflict = () => 'later', storage: ContactsStorage = memoryStorage()) =>
      openContactsStore({
        client: over(calls, line, generator(1)),
        storage,
        userId: user.id,
        onConflict: (conflict) => {
          told.push(conflict);
          return onConflict(conflict);
        },
      }),
  };
}

test.for(databases)(
  'two devices that are offline, lose answers and end in the middle are equal to the server in the end, with every conflict told: on $name',
  async (kind) => {
    await using server = await startOn(kind);
    let conflicts = 0;
    let started = 0;
    const lanes = Array.from({ length: LANES }, async () => {
      for (let owner = await newUser(server), i = 0; started < SCHEDULES; i++) {
        if (i > 0 && i % PER_USER === 0) owner = await newUser(server);
        const seed = FIRST_SEED + started++;
        try {
          const told = await runSchedule(owner.calls, owner.user.id, generator(seed));
          conflicts += told.conflicts;
        } catch (error) {
          throw new Error(`KITH_TEST_SEED=${seed}`, { cause: error });
        }
      }
    });
    await Promise.all(lanes);
    if (SCHEDULES > 1000) console.log(`${SCHEDULES} schedules with ${conflicts} conflicts`);
    expect(conflicts).toBeGreaterThan(SCHEDULES / 2);
  },
);

describe('a store', () => {
  test('shows what was changed here at once, and keeps it for the next time it is opened', async () => {
    const { open, client, line } = await newUser();
    const storage = memoryStorage();
    line.isOffline = true;
    const store = await open(undefined, storage);
    const seen: unknown[] = [];
    store.subscribe((change) => seen.push(change));
    const { id } = await store.create({ givenName: 'Grace', emails: [{ address: 'grace@example.org' }] });
    await store.update(id, ({ givenName }) => ({ familyName: 'Hopper', notes: `${givenName}!` }));
    await expect(store.sync()).rejects.toMatchObject({ name: 'KithError', code: 'Unavailable' });
    expect(store.get(id)).toMatchObject({ state: 'pending', contact: { familyName: 'Hopper', notes: 'Grace!' } });
    store.close();
    await expect(store.update(id, { notes: '' })).rejects.toMatchObject({ reason: 'CLOSED' });

    line.isOffline = false;
    await using again = await open(undefined, storage);
    expect(again.get(id)).toMatchObject({ state: 'pending', contact: { notes: 'Grace!' } });
    await again.sync();
    const { contacts } = await client.listContacts({});
    expect(contacts).toMatchObject([{ familyName: 'Hopper', uid: `urn:uuid:${id}` }]);
    expect(again.get(id)).toMatchObject({ id: contacts[0]!.id, state: 'synced', contact: { etag: contacts[0]!.etag } });
    expect(again.changes()).toEqual([]);
    expect(seen).toEqual([
      { ids: [id], renamed: [] },
      { ids: [id], renamed: [] },
    ]);
  });

  test('puts together what each side alone changed, and tells nobody', async () => {
    const { open, told, client } = await newUser();
    const [one, other] = [await open(), await open()];
    const { id } = await one.create({ givenName: 'Grace', phones: [{ number: '+442079460958', primary: true }] });
    await one.sync();
    await other.sync();
    await one.update(id, { familyName: 'Hopper' });
    const serverId = other.list()[0]!.id;
    await other.update(serverId, { notes: 'Compilers', birthday: { year: 1906 } });
    await one.sync();
    await other.sync();
    await one.sync();
    const { contact } = await client.getContact({ contactId: serverId });
    expect(contact).toMatchObject({ familyName: 'Hopper', notes: 'Compilers', birthday: { year: 1906 } });
    expect([one.get(id)?.contact.etag, other.get(serverId)?.contact.etag]).toEqual([contact!.etag, contact!.etag]);
    await other.update(serverId, { birthday: null, phones: [] });
    await other.sync();
    expect(await client.getContact({ contactId: serverId })).toMatchObject({ contact: { phones: [] } });
    expect(other.get(serverId)!.contact.birthday).toBeUndefined();
    expect(told).toEqual([]);
  });

  test.for<['mine' | 'theirs' | 'merged', string]>([
    ['mine', 'mine'],
    ['theirs', 'theirs'],
    ['merged', 'mine theirs'],
  ])('settles a field that both changed by what is said: %s', async ([how, expected]) => {
    const { open, told, client } = await newUser();
    const { contact } = await client.createContact({ givenName: 'Grace', notes: 'base' });
    const settle: OnConflict = ({ mine, theirs }) =>
      how === 'merged' ? { merged: { notes: `${mine!.notes} ${theirs!.notes}` } } : how;
    const store = await open(settle);
    await store.sync();
    await store.update(contact!.id, { notes: 'mine', company: 'Navy' });
    await client.updateContact({ contactId: contact!.id, notes: 'theirs', jobTitle: 'Admiral' });
    await store.sync();
    expect(told).toMatchObject([
      { base: { notes: 'base' }, mine: { notes: 'mine' }, theirs: { notes: 'theirs' }, fields: ['notes'] },
    ]);
    const { contact: now } = await client.getContact({ contactId: contact!.id });
    expect(now).toMatchObject({ notes: expected, company: 'Navy', jobTitle: 'Admiral' });
    expect(store.get(contact!.id)).toMatchObject({ state: 'synced', contact: { etag: now!.etag } });
  });

  test('tells an edit of what is deleted elsewhere, and a deletion of what is edited elsewhere', async () => {
    const { open, told, client } = await newUser();
    const made = await client.batchCreateContacts({
      contacts: ['A', 'B', 'C'].map((givenName) => ({ givenName })),
    });
    const [a, b, c] = made.results.map(({ contact }) => contact!.id) as [string, string, string];
    const store = await open();
    await store.sync();
    await store.update(a, { notes: 'mine' });
    await store.update(b, { notes: 'mine' });
    await store.delete(c);
    for (const contactId of [a, b]) await client.deleteContact({ contactId });
    await client.updateContact({ contactId: c, notes: 'theirs' });
    await store.sync();
    await store.sync();
    expect(told.map(({ id, mine, theirs }) => [id, mine?.notes, theirs?.notes])).toEqual([
      [a, 'mine', undefined],
      [b, 'mine', undefined],
      [c, undefined, 'theirs'],
    ]);
    expect([a, b, c].map((id) => store.get(id)?.state)).toEqual(['conflict', 'conflict', undefined]);
    expect(store.conflicts()).toHaveLength(3);
    await store.resolve(a, 'mine');
    await store.resolve(b, 'theirs');
    await store.resolve(c, { merged: { company: 'both' } });
    await expect(store.resolve(c, 'mine')).rejects.toMatchObject({ reason: 'CONFLICT_MISSING' });
    await store.sync();
    const { contacts } = await client.listContacts({});
    expect(contacts).toMatchObject([
      { id: a, notes: 'mine' },
      { id: c, notes: 'theirs', company: 'both' },
    ]);
    expect(store.list().map(({ id, state }) => [id, state])).toEqual([
      [a, 'synced'],
      [c, 'synced'],
    ]);
  });

  test('tells an edit of a contact that was merged elsewhere, and makes it in the one that stayed', async () => {
    const { open, told, client } = await newUser();
    const made = await client.batchCreateContacts({ contacts: ['A', 'B'].map((givenName) => ({ givenName })) });
    const [kept, gone] = made.results.map(({ contact }) => contact!) as [Contact, Contact];
    const store = await open(() => 'mine');
    await store.sync();
    await store.update(gone.id, { notes: 'mine' });
    await store.update(kept.id, { company: 'Navy' });
    await client.mergeContacts({
      contacts: made.results.map(({ contact }) => ({ contactId: contact!.id, etag: contact!.etag })),
      keptContactId: kept.id,
      preferKept: true,
    });
    await store.sync();
    expect(told).toMatchObject([{ id: gone.id, mergedInto: kept.id, theirs: { givenName: 'A' }, fields: ['notes'] }]);
    expect((await client.listContacts({})).contacts).toMatchObject([{ id: kept.id, notes: 'mine', company: 'Navy' }]);
    expect(store.list()).toMatchObject([{ id: kept.id, state: 'synced' }]);
  });

  test('keeps a change that is refused, with the reason, until it is changed or dropped', async () => {
    const { open, client } = await newUser();
    const store = await open();
    const { id } = await store.create({ givenName: 'Grace', emails: [{ address: 'nonsense' }] });
    const { id: other } = await store.create({ notes: 'nobody' });
    const { id: fine } = await store.create({ givenName: 'Fine' });
    await store.sync();
    await store.sync();
    expect(store.get(id)).toMatchObject({
      state: 'refused',
      refused: { reason: 'FIELDS_INVALID' },
    });
    expect(store.get(other)).toMatchObject({ state: 'refused', refused: { reason: 'CONTACT_EMPTY' } });
    expect(store.get(fine)).toMatchObject({ state: 'synced' });
    await store.update(id, { emails: [{ address: 'grace@example.org' }] });
    await store.discard(other);
    await store.sync();
    expect((await client.listContacts({})).contacts).toMatchObject([{ givenName: 'Fine' }, { givenName: 'Grace' }]);
    expect(store.changes()).toEqual([]);
  });

  test('creates a contact once, also when its answer is lost and nobody knows the request any more', async () => {
    const { open, client, line } = await newUser();
    const store = await open();
    const { id } = await store.create({ givenName: 'Grace' });
    await store.sync(); // the line is fine for the first contact, so that there is a cursor
    const late = await store.create({ givenName: 'Late' });
    line.answersLost = ['BatchCreateContacts'];
    await expect(store.sync()).rejects.toMatchObject({ code: 'Unavailable' });
    expect(store.get(late.id)).toMatchObject({ state: 'pending' });
    await store.update(late.id, { notes: 'changed meanwhile' });
    await using app = await openApp(kith);
    await purgeResponses(app.database.db, app.now() + 2 * DAY_MS, 1000);
    await store.sync();
    expect((await client.listContacts({})).contacts).toMatchObject([
      { givenName: 'Grace' },
      { givenName: 'Late', notes: 'changed meanwhile' },
    ]);
    expect([id, late.id].map((each) => store.get(each)?.state)).toEqual(['synced', 'synced']);
  });

  test('reads all anew with a cursor that is too old, and keeps what waits', async () => {
    const { open, client } = await newUser();
    const made = await client.batchCreateContacts({ contacts: ['A', 'B'].map((givenName) => ({ givenName })) });
    const [a, b] = made.results.map(({ contact }) => contact!.id) as [string, string];
    const store = await open();
    await store.sync();
    await client.deleteContact({ contactId: a });
    await store.update(b, { notes: 'mine' });
    await store.create({ givenName: 'C' });
    await using app = await openApp(kith);
    const later = { ...app, now: () => app.now() + app.activityRetentionMs + DAY_MS };
    while ((await purgeActivities(later, 1000)) > 0);
    await store.sync();
    const { contacts } = await client.listContacts({});
    expect(contacts).toMatchObject([{ id: b, notes: 'mine' }, { givenName: 'C' }]);
    expect(store.list().map(({ contact }) => contact.etag)).toEqual(contacts.map(({ etag }) => etag));
  });

  test('keeps the contacts of each user by themselves, and sends nothing for another user', async () => {
    const [first, second] = [await newUser(), await newUser()];
    const storage = memoryStorage();
    const store = await first.open(undefined, storage);
    await store.create({ givenName: 'Grace' });
    const other = await second.open(undefined, storage);
    expect(other.list()).toEqual([]);
    const foreign = await openContactsStore({ client: second.calls, storage, userId: first.user.id });
    await expect(foreign.sync()).rejects.toMatchObject({ reason: 'OTHER_USER' });
    expect(foreign.list()).toHaveLength(1);
    await store.clear();
    expect(store.list()).toEqual([]);
    expect((await first.open(undefined, storage)).list()).toEqual([]);
    const own = await openContactsStore({ client: first.calls, storage });
    expect(own.userId).toBe(first.user.id);
    const nobody = createCalls(grpc(kith.address));
    await expect(openContactsStore({ client: nobody, storage })).rejects.toMatchObject({ reason: 'SIGNED_OUT' });
  });

  test('waits with what it has when the session is over, and refuses more changes than may wait', async () => {
    const { user, calls } = await newUser();
    const store = await openContactsStore({ client: calls, storage: memoryStorage(), userId: user.id, changesMax: 2 });
    const { id } = await store.create({ givenName: 'A' });
    await store.create({ givenName: 'B' });
    await expect(store.create({ givenName: 'C' })).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
    await store.update(id, { notes: 'of one that waits already' });
    await calls.signOut();
    await expect(store.sync()).rejects.toMatchObject({ name: 'KithError', code: 'Unauthenticated' });
    expect(store.list().map(({ state }) => state)).toEqual(['pending', 'pending']);
    await expect(store.delete('none')).rejects.toMatchObject({ reason: 'CONTACT_MISSING' });
  });

  test('hides labels that are deleted, and leaves them where they are', async () => {
    const { open, client, labels } = await newUser();
    const made = await Promise.all(['a', 'b'].map(async (name) => (await labels.createLabel({ name })).label!.id));
    const [a, b] = made as [string, string];
    const { contact } = await client.createContact({ givenName: 'Grace', labelIds: [a, b] });
    const store = await open();
    await store.sync();
    expect(store.labels()!.map(({ name }) => name)).toEqual(['a', 'b']);
    await labels.deleteLabel({ labelId: b });
    await store.sync();
    expect(store.get(contact!.id)!.contact.labelIds).toEqual([a]);
    await store.update(contact!.id, { labelIds: [], notes: 'without labels' });
    await store.sync();
    expect(store.changes()).toEqual([]);
    await labels.undeleteLabel({ labelId: b });
    expect((await client.getContact({ contactId: contact!.id })).contact).toMatchObject({ labelIds: [b] });
  });

  test('lists and finds as the server does', async () => {
    const { open, client } = await newUser();
    // biome-ignore format: a table
    const names = [
      'Jean-Luc Picard', 'Łukasz', 'Smørrebrød', 'Straße', '王小明', '山田太郎', 'Scarlett O’Hara', 'ada', 'Ádám',
      'Zoë', 'zoe', '😀 Smile', '\uFF21\uFF42\uFF43', 'Øystein', 'Ångström', 'Èmile', 'emile', '김민수',
    ];
    await client.batchCreateContacts({
      contacts: [
        ...names.map((givenName) => ({ givenName })),
        { company: 'Navy', emails: [{ address: 'grace.hopper@mail.example.org' }] },
        { nickname: 'Nick', phones: [{ number: '+44 20 7946 0018' }] },
      ],
    });
    const store = await open();
    await store.sync();
    const idsOf = (contacts: readonly { readonly id: string }[]) => contacts.map(({ id }) => id);
    const queries = ['', 'luc', 'picard jean', 'jeanluc', "o'hara", 'ohara', 'hara', 'lukasz', 'smorre', 'STRASSE'];
    const more = ['小明', '太郎', 'zoe', 'abc', 'oystein', 'hopper', 'mail.example', '79460018', 'navy', 'nick', 'xyz'];
    for (const query of [...queries, ...more]) {
      const { contacts } = await client.listContacts({ query, pageSize: 100 });
      expect({ query, ids: idsOf(store.list({ query })) }).toEqual({ query, ids: idsOf(contacts) });
    }
  });

  test('keeps itself up to date, and goes on when the line is there again', async () => {
    const { open, client, line } = await newUser();
    await using store = await open();
    const errors: string[] = [];
    const stop = store.keepSynced({ everyMs: 20, onError: ({ message }) => errors.push(message) });
    const { id } = await store.create({ givenName: 'Grace' });
    await expect.poll(() => store.get(id)?.state).toBe('synced');
    await client.createContact({ givenName: 'Theirs' });
    await expect.poll(() => store.list().length).toBe(2);
    line.isOffline = true;
    await expect.poll(() => errors.length).toBeGreaterThan(0);
    line.isOffline = false;
    await client.createContact({ givenName: 'Later' });
    await expect.poll(() => store.list().length).toBe(3);
    stop();
  });

  test('reads everything again when it is cleared in the middle of a synchronisation', async () => {
    const { open, client } = await newUser();
    await client.batchCreateContacts({ contacts: Array.from({ length: 3 }, (_, i) => ({ givenName: `N${i}` })) });
    const store = await open();
    await store.sync();
    const cleared = new Promise<void>((resolve, reject) => {
      const stop = store.subscribe(() => {
        stop();
        store.clear().then(resolve, reject);
      });
    });
    await client.createContact({ givenName: 'New' });
    await Promise.all([store.sync(), cleared]);
    await store.sync();
    expect(store.list().map(({ contact }) => contact.givenName)).toEqual(['N0', 'N1', 'N2', 'New']);
  });

  test('ends a synchronisation when its signal aborts', async () => {
    const { open } = await newUser();
    await using store = await open();
    const reason = new Error('enough');
    await expect(store.sync({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await store.sync();
  });
});
