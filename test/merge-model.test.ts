import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../check/random.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { databases } from './support/databases.ts';
import type { Kith } from './support/kith.ts';
import { Book } from './support/merge-model.ts';
import { startOn } from './support/stored.ts';

/** Sequences on each database, and the calls of one. */
const ROUNDS = Number(process.env['KITH_TEST_MERGE_ROUNDS'] ?? 3);
const CALLS = 30;
const SEED = process.env['KITH_TEST_SEED'] ?? '1';

describe.each(databases)('merges of contacts in sequences that are made up, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test('lose no field that was not chosen to be lost, bring everything back, and leave every earlier version to be restored', async () => {
    const done = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      const { accessToken } = await kith.user();
      const random = new Random(`${SEED}/${kind.name}/${round}`);
      const book = new Book(kith.client(ContactService, accessToken), random);
      const calls: string[] = [];
      try {
        for (let i = 0; i < CALLS; i++) calls.push(await book.step());
        await book.end();
      } catch (error) {
        throw new Error(`seed ${SEED}, round ${round}, after ${calls.join(', ')}: ${String(error)}`, { cause: error });
      }
      for (const call of calls) done.set(call, (done.get(call) ?? 0) + 1);
    }
    expect(new Set(done.keys())).toEqual(
      new Set(['create', 'edit', 'merge', 'unmerge', 'restore', 'delete', 'undelete']),
    );
    expect(await kith.database.faults()).toEqual([]);
  }, 600_000);
});
