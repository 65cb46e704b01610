import { randomUUIDv7 } from 'node:crypto';
import { type ContactKey, type ContactRow, insertContact } from '../../src/contacts/store.ts';
import { NO_FIELDS, toColumns } from '../../src/contacts/contact.ts';
import { openDatabase } from '../../src/storage/database.ts';

/**
 * Stores contacts of a user in one transaction. The n-th is called "Name n", every
 * other one is starred, two of four are deleted; `termsOf(n)` finds it. Gives what
 * a list goes by, in order.
 */
export async function insertManyContacts(
  databaseUrl: string,
  ownerId: string,
  count: number,
  termsOf: (n: number) => readonly string[],
): Promise<ContactKey[]> {
  await using database = await openDatabase(databaseUrl);
  const nowMs = Date.now();
  const keys = Array.from(
    { length: count },
    (_, n): ContactKey => [`name ${String(n).padStart(7, '0')}`, randomUUIDv7()],
  );
  await database.transaction(async (tx) => {
    for (const [n, [sortKey, id]] of keys.entries()) {
      const isDeleted = n % 4 >= 2;
      const row: ContactRow = {
        ...toColumns({ ...NO_FIELDS, givenName: `Name ${n}`, starred: n % 2 === 0 }),
        sort_key: sortKey,
        id,
        owner_id: ownerId,
        deleted: isDeleted ? 1 : 0,
        create_ms: nowMs,
        update_ms: nowMs,
        delete_ms: isDeleted ? nowMs : null,
        purge_ms: isDeleted ? nowMs + 30 * 24 * 60 * 60 * 1000 : null,
        revision: 1,
        merge_id: '',
        bytes: 1,
      };
      await insertContact(tx, row, termsOf(n));
    }
  });
  return keys;
}
