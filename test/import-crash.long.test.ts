import { randomInt, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type Client, createClient } from '@connectrpc/connect';
import { describe, expect, test, vi } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import type { Contact } from '../gen/kith/contact/v1/contact_pb.ts';
import { ContactFormat, ContactImportStatus, ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { quarters, toPng } from '../src/contacts/photos/pictures.testkit.ts';
import { databases } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { ADMIN_PASSWORD, grpc } from './support/kith.ts';
import { type ServingProcess, startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const ROUNDS = sizeOf('KITH_TEST_IMPORT_CRASHES', 1, 1);

vi.setConfig({ testTimeout: 60_000 + ROUNDS * 20_000 });

/** Contacts that are there before, which the file changes, and those that it creates. */
const PRESENT = 75;
const NEW = 125;

/** The photo of every tenth contact: some share one. */
const photo = (i: number) => `PHOTO;ENCODING=b;TYPE=PNG:${toPng(quarters(1 + (i % 30))).toString('base64')}`;

const card = (i: number) =>
  [
    'BEGIN:VCARD',
    'VERSION:3.0',
    `UID:u${i}`,
    `N:;Of the file ${i};;;`,
    'NOTE:Of the file',
    ...(i % 10 === 0 ? [photo(i)] : []),
    'END:VCARD',
    '',
  ].join('\r\n');
const FILE = Buffer.from(Array.from({ length: PRESENT + NEW }, (_, i) => card(i)).join(''));

type Contacts = Client<typeof ContactService>;

/** Every contact, by its uid: more than one of a uid would be told. */
async function allOf(client: Contacts): Promise<Map<string, object>> {
  const { contacts, nextPageToken } = await client.listContacts({ pageSize: 1000 });
  expect(nextPageToken).toBe('');
  const byUid = new Map(contacts.map((contact) => [contact.uid, bare(contact)]));
  expect(byUid.size).toBe(contacts.length);
  return byUid;
}

const bare = (contact: Contact): object => ({ ...contact, etag: '', updateTime: undefined });

describe.each(databases)('on $name', (kind) => {
  test('a server that is killed in the middle of an import leaves nothing by half, the same file does the rest, and taking it back restores what was there, also through a kill', async () => {
    await using database = await kind.create();
    const env = {
      ...database.env,
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_LOG_LEVEL: 'warn',
    };
    let kith = await startProcess({ env });
    const login = createClient(AuthService, grpc(kith.address));
    const { accessToken } = await signedIn(login.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
    const clientOf = ({ address }: ServingProcess) => createClient(ContactService, grpc(address, accessToken));
    let client = clientOf(kith);
    const present = Array.from({ length: PRESENT }, (_, i) => ({ uid: `u${i}`, givenName: `${i}`, company: 'Before' }));
    await client.batchCreateContacts({ contacts: present, allOrNothing: true });
    const before = await allOf(client);

    /** Does `work`, kills the server as soon as `isTime`, and starts it again. */
    const killIn = async (work: Promise<unknown>, isTime: () => Promise<boolean>) => {
      const outcome = Promise.allSettled([work]);
      while (!(await isTime()));
      kith.kill('SIGKILL');
      await kith.exited;
      await outcome;
      await kith[Symbol.asyncDispose]();
      expect(await database.faults()).toEqual([]);
      kith = await startProcess({ env });
      client = clientOf(kith);
    };

    for (let round = 0; round < ROUNDS; round++) {
      const importId = randomUUID();
      const load = () => client.importContacts({ format: ContactFormat.VCARD_3, content: FILE, importId });
      const remaining = async () =>
        (await client.listContactImports({ pageSize: 1 })).imports.find(({ id }) => id === importId)?.remainingContacts;
      const written = randomInt(PRESENT + NEW);
      await killIn(load(), async () => ((await remaining()) ?? 0) >= written);
      const half = await allOf(client);
      // A step is there or it is not, and so is what takes it back.
      const changed = [...half].filter(([uid, contact]) => !isDeepStrictEqual(contact, before.get(uid)));
      expect(changed.length % 50).toBe(0);
      expect((await remaining()) ?? 0).toBe(changed.length);

      const { results } = await load();
      expect(results.filter(({ status }) => status === ContactImportStatus.SAME)).toHaveLength(changed.length);
      const whole = await allOf(client);
      expect(whole.size).toBe(PRESENT + NEW);
      for (const contact of whole.values()) expect(contact).toMatchObject({ notes: 'Of the file' });
      const again = await load();
      expect(again.results.every(({ status }) => status === ContactImportStatus.SAME)).toBe(true);

      const left = randomInt(1, PRESENT + NEW);
      await killIn(client.undoContactImport({ importId }), async () => ((await remaining()) ?? 0) <= left);
      await client.undoContactImport({ importId });
      expect(await remaining()).toBe(0);
      expect(await allOf(client)).toEqual(before);
    }
    expect(await database.faults()).toEqual([]);
    await kith[Symbol.asyncDispose]();
  });
});
