import { expect, test } from 'vitest';
import { summarizeQuery } from './query-summary.ts';

test.each([
  ['select "id", "name" from "users" where "id" = ?', 'select users'],
  ['insert into "users" ("id") values ($1) on conflict ("id") do update set "id" = $2', 'insert users'],
  ['update "sessions" set "refresh_count" = ? where "id" = ?', 'update sessions'],
  ['delete from "requests" where "expire_ms" < ?', 'delete requests'],
  ['select * from "users" inner join "sessions" on true for update', 'select users sessions'],
  [
    'insert into "activity" ("id") select "id" from "users" where "id" in (select "user_id" from "contacts")',
    'insert activity select users select contacts',
  ],
  ['select 1 from (select * from "users") as "u"', 'select select users'],
  ['\n  select writer, seq\n  from activity where true', 'select activity'],
  ['begin immediate', 'begin'],
  ['', ''],
])('%j is "%s"', (sql, summary) => {
  expect(summarizeQuery(sql)).toBe(summary);
});

test('a summary has 255 characters at the most, and ends with a whole word', () => {
  const summary = summarizeQuery(
    `select 1 ${Array.from({ length: 100 }, (_, i) => `join "table_${i}" on true`).join(' ')}`,
  );
  expect(summary.length).toBeLessThanOrEqual(255);
  expect(summary).toMatch(/ table_\d\d$/);
});
