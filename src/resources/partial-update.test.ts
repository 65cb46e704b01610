import { expect, test } from 'vitest';
import { applyUpdate, type PartialUpdate } from './partial-update.ts';

interface Fields {
  readonly name: string;
  readonly starred: boolean;
  readonly tags: readonly string[];
  readonly birthday: string | undefined;
}

const FIELDS: Fields = { name: 'Ada', starred: true, tags: ['a'], birthday: '1815-12-10' };
const NOTHING: PartialUpdate<Fields> = { name: undefined, starred: undefined, tags: undefined, birthday: undefined };

test.each<[string, Partial<PartialUpdate<Fields>>, Partial<Fields>]>([
  ['nothing is named', {}, {}],
  ['one has a value', { name: 'Bob' }, { name: 'Bob' }],
  ['several have values', { name: 'Bob', tags: ['b', 'c'] }, { name: 'Bob', tags: ['b', 'c'] }],
  ['values are empty', { name: '', starred: false, tags: [] }, { name: '', starred: false, tags: [] }],
  ['one is cleared', { birthday: null }, { birthday: undefined }],
])('an update leaves the other fields as they are when %s', (_, update, changed) => {
  expect(applyUpdate(FIELDS, { ...NOTHING, ...update })).toStrictEqual({ ...FIELDS, ...changed });
});

test('an update that forgets a field does not compile, nor one that clears a field which must have a value', () => {
  // @ts-expect-error Property 'birthday' is missing.
  const forgetful: PartialUpdate<Fields> = { name: 'Bob', starred: undefined, tags: undefined };
  // @ts-expect-error Type 'null' is not assignable.
  const clearing: PartialUpdate<Fields> = { ...NOTHING, name: null };
  expect([forgetful, clearing]).toHaveLength(2);
});
