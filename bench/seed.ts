import { DatabaseSync } from 'node:sqlite';
import { createClient } from '@connectrpc/connect';
import { Client } from 'pg';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { writeCursor } from '../src/activity/log/cursor.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { pageTokens } from '../src/storage/pages.ts';
import { grpc } from '../test/support/kith.ts';
import { startServing } from './load.ts';
import { signedIn } from '../test/support/sign-in.ts';

const PASSWORD = 'password of the benchmark';
const SECRET = Buffer.alloc(32, 'bench');

/** What a user may have. */
const CONTACTS_OF_USER_MAX = 25_000;

/** How many of the activities each of the first users has, evenly spread over the log. */
export const ACTIVITIES_OF_USER = 100;

/** How much a database holds beside its administrator. */
export interface Holdings {
  readonly users: number;
  /** The administrator's as far as a user may have them, the rest others'. */
  readonly contacts: number;
  /** At most a hundred times as many as users. */
  readonly activities: number;
}

/** A database to be measured. */
export interface Seed {
  readonly databaseUrl: string;
  /** The administrator's, good for an hour. */
  readonly accessToken: string;
  readonly userId: string;
  /** Of the n-th user, from 0, oldest first. */
  readonly idOf: (n: number) => string;
  /** A cursor after which so many activities come. */
  readonly cursorBefore: (activities: number) => Promise<string>;
}

/** The settings of a server for a database. */
export function kithEnv(databaseUrl: string, fastPath: boolean): Record<string, string> {
  return {
    KITH_PORT: '0',
    KITH_DATABASE_URL: databaseUrl,
    KITH_ADMIN_PASSWORD: PASSWORD,
    KITH_SECRET_KEY: SECRET.toString('base64'),
    KITH_ISSUER: 'http://kith.example',
    KITH_ACCESS_TOKEN_SECONDS: '3600',
    KITH_LOG_LEVEL: 'error',
    KITH_FAST_PATH: String(fastPath),
  };
}

/** Fills an empty database with what the service would have stored, by few large statements. */
export async function seedDatabase(databaseUrl: string, holdings: Holdings): Promise<Seed> {
  const { accessToken, userId } = await signIn(databaseUrl);
  {
    await using store = await openStore(databaseUrl);
    for (const statement of statementsFor(holdings, userId, store)) await store.run(statement);
    await store.settle();
  }
  return {
    databaseUrl,
    accessToken,
    userId,
    idOf: (n) => `${ID_START.users}${String(n).padStart(12, '0')}`,
    async cursorBefore(activities) {
      await using store = await openStore(databaseUrl);
      const [row] = await store.run(
        `select writer, seq from activity order by writer desc, seq desc limit 1 offset ${activities}`,
      );
      return writeCursor(createKeyring(SECRET), { writer: Number(row?.['writer']), seq: Number(row?.['seq']) });
    },
  };
}

/** The page token of the last 20 users: 20 are older than the 21st, and nobody than the first. */
export function tokenOfLastPage({ idOf, userId }: Seed): string {
  const filter = { role: undefined, states: ['active', 'suspended'], query: '' };
  return pageTokens<[string]>(createKeyring(SECRET), 'users', userId, filter).write([idOf(20)]);
}

/** A query that finds 10 of the administrator's contacts, however many there are. */
export const QUERY_OF_TEN = 'family-000012';

async function signIn(databaseUrl: string): Promise<{ accessToken: string; userId: string }> {
  await using kith = await startServing('src/main.ts', [], kithEnv(databaseUrl, true));
  const client = createClient(AuthService, grpc(kith.address));
  const { accessToken, user } = await signedIn(client.login({ identifier: 'admin', password: PASSWORD }));
  return { accessToken, userId: user?.id ?? '' };
}

interface Store extends AsyncDisposable {
  /** A select of the numbers from 0 to below `count`, as n. */
  readonly numbers: (count: number) => string;
  /** Who wrote the n-th activity: one transaction each, where they have numbers. */
  readonly writer: string;
  readonly run: (statement: string) => Promise<Record<string, unknown>[]>;
  /** Brings a database that was just filled to where one is that has served for long. */
  readonly settle: () => Promise<void>;
}

async function openStore(databaseUrl: string): Promise<Store> {
  return databaseUrl.startsWith('sqlite:') ? openFile(databaseUrl.slice('sqlite:'.length)) : openServer(databaseUrl);
}

/** Without a journal: a benchmark that is cut short starts again. */
function openFile(path: string): Store {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  database.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -500000');
  return {
    numbers: (count) =>
      `with recursive numbers(n) as (select 0 union all select n + 1 from numbers where n + 1 < ${count}) select n from numbers`,
    writer: '0',
    run: async (statement) => database.prepare(statement).all(),
    async settle() {},
    async [Symbol.asyncDispose]() {
      database.close();
    },
  };
}

async function openServer(url: string): Promise<Store> {
  const client = new Client({ connectionString: url });
  await client.connect();
  // Without the triggers that check foreign keys.
  await client.query('set session_replication_role = replica');
  await client.query(`set maintenance_work_mem = '512MB'`);
  return {
    numbers: (count) => `select n from generate_series(0, ${count - 1}) as n`,
    // After those of the transactions until then, so that the log ends with these.
    writer: '1000000 + n',
    run: async (statement) => (await client.query<Record<string, unknown>>(statement)).rows,
    async settle() {
      await client.query('vacuum analyze');
      await client.query('checkpoint');
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** UUIDv7 of the year 2024, so that the administrator is the newest user; the number of a row follows. */
const ID_START = {
  users: '018cc251-f400-7000-8000-',
  contacts: '018cc251-f400-7000-8001-',
  activities: '018cc251-f400-7000-8002-',
};

/** The SQL is one that both databases read. Names have as many digits each, so that indexes of them grow at the end. */
function statementsFor(
  { users, contacts, activities }: Holdings,
  adminId: string,
  { numbers, writer }: Pick<Store, 'numbers' | 'writer'>,
): string[] {
  const digits = (n: string, count: number) => `substr(cast(${10 ** count} + ${n} as text), 2)`;
  const id = (table: keyof typeof ID_START, n = 'n') => `'${ID_START[table]}' || ${digits(n, 12)}`;
  const now = Date.now();
  const insert = (table: string, columns: Readonly<Record<string, string>>, count: number) =>
    count === 0
      ? []
      : [
          `insert into ${table} (${Object.keys(columns).join()}) select ${Object.values(columns).join()} from (${numbers(count)}) as numbers`,
        ];

  const username = `'many-' || ${digits('n', 7)}`;
  const email = `${username} || '@example.org'`;
  const userColumns = {
    id: id('users'),
    username,
    username_key: username,
    email,
    email_key: email,
    external_id: `'external-' || ${digits('n', 7)}`,
    name: `'User ' || ${digits('n', 7)}`,
    role: `'viewer'`,
    state: `'active'`,
    password_hash: `'$argon2id$v=19$m=19456,t=2,p=1$$'`,
    must_change_password: '0',
    session_epoch: '0',
    create_ms: String(now),
    update_ms: String(now),
    revision: '1',
  };
  const userTerms = [`'user ' || ${digits('n', 7)}`, digits('n', 7), username, email];

  const owner = `case when n < ${CONTACTS_OF_USER_MAX} then '${adminId}' else ${id('users', `(n / ${CONTACTS_OF_USER_MAX})`)} end`;
  const family = `'family-' || ${digits('n', 7)}`;
  const contactColumns = {
    id: id('contacts'),
    owner_id: owner,
    sort_key: `'person ' || ${family}`,
    given_name: `'Person'`,
    family_name: `'F' || substr(${family}, 2)`,
    company: `''`,
    job_title: `''`,
    emails: `'[]'`,
    phones: `'[]'`,
    addresses: `'[]'`,
    urls: `'[]'`,
    notes: `''`,
    starred: '0',
    deleted: '0',
    create_ms: String(now),
    update_ms: String(now),
    revision: '1',
    bytes: '2000',
  };
  const contactTerms = [`'person ' || ${family}`, family, `${family} || ' person'`, `'person'`];

  const subject = id('users', `(n % ${Math.ceil(activities / ACTIVITIES_OF_USER)})`);
  const activityColumns = {
    writer,
    id: id('activities'),
    user_id: subject,
    actor_id: subject,
    action: `'page.viewed'`,
    details: `''`,
    attributes: `'{"page":"' || ${digits('n', 7)} || '"}'`,
    private: '0',
    event_ms: String(now),
    record_ms: String(now),
  };

  return [
    ...insert('users', userColumns, users),
    ...userTerms.flatMap((term) => insert('user_terms', { term, user_id: id('users') }, users)),
    ...insert('contacts', contactColumns, contacts),
    ...contactTerms.flatMap((term) =>
      insert('contact_terms', { owner_id: owner, term, contact_id: id('contacts') }, contacts),
    ),
    `insert into user_usage (user_id, contacts, live_contacts, contact_bytes)
      select owner_id, count(*), count(*), sum(bytes) from contacts group by owner_id`,
    ...insert('activity', activityColumns, activities),
  ];
}
