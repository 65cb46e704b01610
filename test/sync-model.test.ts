import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { expect, test, vi } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { ContactCopy } from './support/contact-copy.ts';
import { databases } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { type Generator, generator } from './support/generator.ts';
import { startKith } from './support/kith.ts';
import { startOn } from './support/stored.ts';

const ROUNDS = sizeOf('KITH_TEST_SYNC_ROUNDS', 1, 3);
const FIRST_SEED = Number(process.env['KITH_TEST_SEED'] ?? 1);
const STEPS = 25;

vi.setConfig({ testTimeout: 60_000 + ROUNDS * 30_000 });

const postgres = databases.find(({ name }) => name === 'PostgreSQL')!;

/** Does anything that changes contacts, with those that it finds; what somebody else was faster with is refused, and no matter. */
async function write(client: Client<typeof ContactService>, labelIds: readonly string[], random: Generator) {
  const { contacts } = await client.listContacts({ pageSize: 20, deleted: random.below(4) === 0 });
  const some = () => contacts[random.below(contacts.length)]!;
  if (contacts.length < 3 || random.below(3) === 0) {
    const created = Array.from({ length: 1 + random.below(3) }, () => ({ givenName: `N${random.below(1000)}` }));
    await client.batchCreateContacts({ contacts: created });
    return;
  }
  const contact = some();
  const { id, etag, deleteTime } = contact;
  if (deleteTime !== undefined) await client.undeleteContact({ contactId: id });
  else {
    const kind = random.below(6);
    if (kind === 0) await client.deleteContact({ contactId: id });
    else if (kind === 1) {
      await client.labelContacts({ contacts: [{ contactId: id }], addLabelIds: [random.pick(labelIds)] });
    } else if (kind === 2) {
      const other = some();
      const versions = [contact, other].map((each) => ({ contactId: each.id, etag: each.etag }));
      await client.mergeContacts({ contacts: versions, keptContactId: id, preferKept: true });
    } else if (kind === 3) await client.unmergeContact({ contactId: id });
    else await client.updateContact({ contactId: id, etag, notes: `n${random.below(1e6)}` });
  }
}

test('readers that synchronise with any of two instances, while many write, end equal to the server', async () => {
  await using database = await postgres.create();
  await using first = await startKith({ database });
  await using second = await startKith({ database });
  const instances = [first, second];
  for (let round = 0; round < ROUNDS; round++) {
    const seed = FIRST_SEED + round;
    const { accessToken, user } = await first.user();
    const clients = instances.map((kith) => kith.client(ContactService, accessToken));
    const labels = first.client(LabelService, accessToken);
    const labelIds = await Promise.all(['a', 'b'].map(async (name) => (await labels.createLabel({ name })).label!.id));
    const { contact: late } = await clients[0]!.createContact({ givenName: 'Late' });
    let isDone = false;

    const writers = Array.from({ length: 4 }, async (_, i) => {
      const random = generator(seed * 100 + i);
      for (let step = 0; step < STEPS; step++) {
        await write(clients[i % 2]!, labelIds, random).catch(() => {});
      }
    });
    // Transactions that are open for long, and end after others that began later: an id of their own, so that none waits.
    const slow = (async () => {
      const random = generator(seed * 100 + 50);
      const client = new PgClient({ connectionString: database.url });
      await client.connect();
      for (let i = 1; !isDone; i++) {
        await client.query('begin');
        await client.query('update contacts set company = $2 where id = $1', [late!.id, `Late ${i}`]);
        await client.query(
          `insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
           values (gen_random_uuid()::text, $1, 'kith.contact.updated', '', $2, 1, 0, 0)`,
          [user.id, JSON.stringify({ contact_id: late!.id })],
        );
        await sleep(random.below(60));
        await client.query('commit');
      }
      await client.end();
    })();
    const copies = Array.from({ length: 3 }, () => new ContactCopy());
    const readers = copies.map(async (copy, i) => {
      const random = generator(seed * 100 + 60 + i);
      while (!isDone) await copy.page(random.pick(clients), 1 + random.below(30));
    });
    await Promise.all(writers);
    isDone = true;
    await Promise.all([slow, ...readers]);

    const present = (await clients[0]!.listContacts({ pageSize: 1000 })).contacts;
    const expected = present.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(expected.length).toBeGreaterThan(10);
    const gone = (await clients[0]!.listContacts({ pageSize: 1000, deleted: true })).contacts.map(({ id }) => id);
    for (const copy of copies) {
      await copy.sync(clients[1]!, 30);
      expect(copy.contacts(), `seed ${seed}`).toEqual(expected);
    }
    const anew = new ContactCopy();
    await anew.sync(clients[0]!, 7);
    expect(anew.contacts()).toEqual(expected);
    for (const id of gone) expect(anew.get(id)).toBeUndefined();
  }
});

test('one’s own writes are there while another transaction is open, and what that writes is there when it ends', async () => {
  await using kith = await startOn(postgres);
  const { accessToken, user } = await kith.user();
  const client = kith.client(ContactService, accessToken);
  const { contact } = await client.createContact({ givenName: 'Late' });
  const copy = new ContactCopy();
  await copy.sync(client, 50);
  const late = new PgClient({ connectionString: kith.database.url });
  await late.connect();
  try {
    await late.query('begin');
    await late.query("update contacts set company = 'Written late' where id = $1", [contact!.id]);
    await late.query(
      `insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
       values (gen_random_uuid()::text, $1, 'kith.contact.updated', '', $2, 1, 0, 0)`,
      [user.id, JSON.stringify({ contact_id: contact!.id })],
    );
    for (const givenName of ['Own', 'Own again']) {
      const { contact: own } = await client.createContact({ givenName });
      await copy.sync(client, 50);
      expect(copy.get(own!.id)).toEqual(own);
    }
    expect(copy.get(contact!.id)!.company).toBe('');
    await late.query('commit');
    await copy.sync(client, 50);
    expect(copy.get(contact!.id)!.company).toBe('Written late');
    copy.answered = 0;
    await copy.sync(client, 50);
    expect(copy.answered).toBe(0);
  } finally {
    await late.end();
  }
});
