import { Client } from 'pg';
import { expect, test } from 'vitest';
import { checkDatabaseUrl, DatabaseUrlError, shownRefusedUrl } from './url.ts';

/** Why a URL is refused; undefined when it is not. */
function refusalOf(url: string): string | undefined {
  try {
    checkDatabaseUrl(url);
    return undefined;
  } catch (error) {
    if (error instanceof DatabaseUrlError) return error.message;
    throw error;
  }
}

test.each([
  'sqlite:kith.db',
  'sqlite:./data/kith.db',
  'sqlite:../kith.db',
  'sqlite:/var/lib/kith/a b.db',
  'sqlite:/x/100%.db',
  'sqlite:/x/~k.db',
  'sqlite:a:b.db',
  'sqlite:k#1.db',
])('%s is a path as it stands', (url) => {
  expect(checkDatabaseUrl(url)).toBe(url);
});

test.each([
  ['sqlite:file:/x/k.db', /not a file: URI/],
  ['sqlite:FILE:k.db', /not a file: URI/],
  ['sqlite:file:x?mode=memory&cache=shared', /not a file: URI/],
  ['sqlite:file::memory:', /not a file: URI/],
  ['sqlite:///x/k.db', /without \/\/ before it/],
  ['sqlite:////x/k.db', /without \/\/ before it/],
  ['sqlite://k.db', /without \/\/ before it/],
  ['sqlite:~/k.db', /nothing stands in for ~/],
  ['sqlite:~ada/k.db', /nothing stands in for ~/],
  ['sqlite:$HOME/k.db', /nothing stands in for variables/],
  ['sqlite:/x/${NAME}.db', /nothing stands in for variables/],
  ['sqlite:/x/$(NAME).db', /nothing stands in for variables/],
  ['sqlite:k.db?mode=ro', /there is no \? in it/],
  ['sqlite:/x/a%20b.db', /nothing stands in for %XX/],
  ['sqlite::memory:?cache=shared', /there is no \? in it/],
  ['sqlite::memory', /nothing is kept in memory/],
  ['sqlite:/x/', /not of a directory/],
  ['sqlite:/', /not of a directory/],
  ['sqlite:.', /not of a directory/],
  ['sqlite:/x/..', /not of a directory/],
  ['sqlite: /x/k.db', /without blanks before it/],
  ['sqlite:', /must be sqlite:PATH or postgres/],
  ['sqlite::memory:', /must be sqlite:PATH or postgres/],
  ['SQLITE:k.db', /must be sqlite:PATH or postgres/],
  ['file:k.db', /must be sqlite:PATH or postgres/],
])('%s is refused, since SQLite or a shell takes it for something else', (url, why) => {
  expect(refusalOf(url)).toMatch(why);
});

test.each<[url: string, host: string, port: number, user: string, password: string, database: string]>([
  ['postgres://kith:hidden@db/kith', 'db', 5432, 'kith', 'hidden', 'kith'],
  ['postgresql://kith:hidden@db.example.org:5433/kith', 'db.example.org', 5433, 'kith', 'hidden', 'kith'],
  ['postgres://kith:p%40ss%2Fw%3A%23%3F%25@db/kith', 'db', 5432, 'kith', 'p@ss/w:#?%', 'kith'],
  ['postgres://kith:p@ss@db/kith', 'db', 5432, 'kith', 'p@ss', 'kith'],
  ['postgres://kith:hidden@[::1]:5433/kith?sslmode=disable', '::1', 5433, 'kith', 'hidden', 'kith'],
  ['postgres://kith:hidden@/kith?host=%2Frun%2Fpg', '/run/pg', 5432, 'kith', 'hidden', 'kith'],
  ['postgres://kith:hidden@/kith?host=/run/pg', '/run/pg', 5432, 'kith', 'hidden', 'kith'],
  ['postgres://kith:hidden@%2Frun%2Fpg/kith', '/run/pg', 5432, 'kith', 'hidden', 'kith'],
  ['postgres://db/kith?user=kith&password=hidden&port=5433', 'db', 5433, 'kith', 'hidden', 'kith'],
  ['postgres://kith:hidden@/kith?host=%2Frun%2Fpg&options=-c search_path=b', '/run/pg', 5432, 'kith', 'hidden', 'kith'],
])('%s is read by the driver as it is meant', (url, host, port, user, password, database) => {
  const client = new Client({ connectionString: checkDatabaseUrl(url) });
  expect(client).toMatchObject({ host, port, user, password, database });
});

const PARTS = ['hid', 'den'];

test.each([
  'postgres://kith:hid/den@db/kith',
  'postgres://kith:12/hidden@db/kith',
  'postgres://kith:hid/den@db:5432/kith',
  'postgres://kith:hid@/den@db/kith',
  'postgres://kith:hid#den@db/kith',
  'postgres://kith:12#hidden@db/kith',
  'postgres://kith:hid?den@db/kith',
  'postgres://kith:12?hidden@db/kith',
  'postgres://kith:hid den@db/kith',
  'postgres://kith:hid%den@db/kith',
  'postgres://kith:hid%e9den@db/kith',
  'postgres://kith:hidden@db:99999/kith',
  'postgres://kith:hidden@db:0/kith',
  'postgres://kith:hidden@db:/kith',
  'postgres://kith:hidden@db:54a/kith',
  'postgres://kith:hidden@a,b/kith',
  'postgres://kith:hidden@a:1,b:2/kith',
  'postgres://kith:hidden@[::g]/kith',
  'postgres://kith:hidden@db/kith/more/parts',
  'postgres://kith:hidden@db/kith?sslmod=require',
  'postgres://kith:hidden@db/kith?sslmode=requir',
  'postgres://kith:hidden@db/kith?sslmode=require&sslmode=disable',
  'postgres://kith:hidden@db/kith?port=99999',
  'postgres://kith:hidden@db/kith?host=a,b',
  'postgres://kith:hidden@db/kith?dbname=other',
  'postgres://kith:hidden@db/kith?client_encoding=LATIN1',
  'postgres://kith:hidden@db/kith?max=1000',
  'postgres://kith:hidden/kith',
  'postgres:kith:hidden@db/kith',
  'mysql://kith:hidden@db/kith',
  'kith:hidden@db/kith',
])('%s is refused, and no part of the password is shown', (url) => {
  const refusal = refusalOf(url);
  expect(refusal).toMatch(/^it must be /);
  for (const part of PARTS) expect(refusal + shownRefusedUrl(url)).not.toContain(part);
});

test.each([
  ['mysql://localhost/kith', 'mysql://localhost/kith'],
  ['./kith.db', './kith.db'],
  ['sqlite:~/k.db', 'sqlite:~/k.db'],
  ['sqlite:k.db?key=hidden', 'sqlite:k.db?...'],
  ['postgres://kith:hidden@db/kith', 'postgres://...'],
  ['kith:hidden@db/kith', '...'],
])('%s is shown as %s', (url, shown) => {
  expect(shownRefusedUrl(url)).toBe(shown);
});
