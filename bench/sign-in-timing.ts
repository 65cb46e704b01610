/**
 * Measures whether the time of a refusal tells why: unknown users, wrong passwords,
 * suspended users and guesses that are not compared any more, in turn, each as an
 * attacker would send it; by Login and by ChangePassword. Then whether the calls that mail a
 * code, and those that take one, tell whether there is a user: SignUp, RequestPasswordReset,
 * RequestLoginCode, ResetPassword and LoginWithCode. Fails when the medians of one call lie
 * further apart than 5 %.
 *
 * With words, only what has one of them in "SQLite Login" or the like is measured, and no report written.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '@connectrpc/connect';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { grpc, refusalOf } from '../test/support/kith.ts';
import { startPostgres } from '../test/support/postgres-server.ts';
import { startProcess } from '../test/support/process.ts';
import { quantile, writeReport } from './report.ts';
import { signedIn } from '../test/support/sign-in.ts';

const PASSWORD = 'password of the benchmark';
const ROUNDS = Number(process.env['KITH_BENCH_ROUNDS'] ?? 500);
const WARM_UP = 50;
const SPREAD_MAX = 0.05;

/** How long what is done after an answer takes, milliseconds: longer than ANSWER_MS and a transaction. */
const SETTLED_MS = 60;

/** How many guesses at one account there are: no more than are free from many addresses. */
const PER_ACCOUNT = 4;

/** How many mails with a code one user is sent at once. */
const MAILS_PER_ACCOUNT = 2;

/** A code that is wrong, but once in a hundred million times. */
const WRONG = '00000000';

const ENV = {
  KITH_ADMIN_PASSWORD: PASSWORD,
  KITH_SECRET_KEY: Buffer.alloc(32, 'bench').toString('base64'),
  KITH_LOG_LEVEL: 'error',
  KITH_TRUSTED_PROXIES: '127.0.0.1',
  KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
  KITH_SIGN_UP: 'open',
  KITH_LOGIN_CODES: 'true',
  KITH_ACCESS_TOKEN_SECONDS: '3600',
  KITH_FRESH_SIGN_IN_SECONDS: '3600',
};

interface User {
  readonly username: string;
  readonly accessToken: string;
}

/** Something to time; `prepare` is not. */
interface Class {
  readonly name: string;
  prepare?(round: number, address: string): Promise<void>;
  call(round: number, address: string): Promise<unknown>;
}

const lines = ['| database | call | class | median | 90 % | from the first |', '| --- | --- | --- | --- | --- | --- |'];
const WORDS = process.argv.slice(2);
const isWanted = (database: string, call = '') =>
  WORDS.length === 0 ||
  WORDS.some((word) => `${database} ${call}`.startsWith(word) || (call === '' && word.startsWith(database)));
let isAlike = true;
let addresses = 0;
if (isWanted('SQLite')) await measure('SQLite', {});
if (isWanted('PostgreSQL')) {
  await using postgres = await startPostgres();
  await measure('PostgreSQL', { KITH_DATABASE_URL: postgres.url('postgres') });
}
const report = [
  ...lines,
  '',
  `Each class ${ROUNDS} times, one call after the other in an order that is drawn anew each round, from an address of its own each; "throttled" is the right password after four wrong ones. The server, its client and PostgreSQL share the machine.`,
];
if (WORDS.length === 0) await writeReport('sign-in-timing', 'npm run bench:sign-in-timing', report);
if (!isAlike) {
  console.error(`medians lie further apart than ${SPREAD_MAX * 100} %`);
  process.exitCode = 1;
}

async function measure(database: string, env: Record<string, string>): Promise<void> {
  await using kith = await startProcess({ env: { ...ENV, ...env } });
  const auth = createClient(AuthService, grpc(kith.address));
  const users = await createUsers(database, kith.address, auth);
  await compare(database, 'Login', loginClasses(auth, users));
  await compare(database, 'ChangePassword', changeClasses(auth, users));
  await compare(database, 'SignUp', signUpClasses(auth, users));
  await compare(database, 'RequestPasswordReset', resetClasses(auth, users));
  await compare(database, 'RequestLoginCode', codeClasses(auth, users));
  await compare(database, 'ResetPassword', wrongResetClasses(auth, users));
  await compare(database, 'LoginWithCode', wrongCodeClasses(auth, users));
}

type Users = Readonly<
  Record<
    'wrong' | 'suspended' | 'throttled' | 'changing' | 'changingThrottled' | 'forgetful' | 'mailed' | 'guessed',
    readonly User[]
  >
>;

async function createUsers(database: string, address: string, auth: Client<typeof AuthService>): Promise<Users> {
  const admin = await signedIn(auth.login({ identifier: 'admin', password: PASSWORD }));
  const users = createClient(UserService, grpc(address, admin.accessToken));
  const create = async (kind: string, state: UserState, signsIn = false, perAccount = PER_ACCOUNT): Promise<User[]> => {
    const created: User[] = [];
    while (created.length * perAccount < ROUNDS + WARM_UP) {
      const username = `${kind}${created.length}`;
      const profile = {
        username,
        email: `${username}@example.org`,
        name: username,
        password: `${PASSWORD} ${username}`,
        emailVerified: true,
      };
      const { user } = await users.createUser(profile);
      if (state === UserState.SUSPENDED) await users.updateUser({ userId: user!.id, state });
      const session = signsIn
        ? await signedIn(auth.login({ identifier: username, password: profile.password }))
        : undefined;
      created.push({ username, accessToken: session?.accessToken ?? '' });
    }
    return created;
  };
  /** Users for these calls alone: each takes the time of a hash. */
  const createFor = async (calls: readonly string[], ...how: Parameters<typeof create>): Promise<User[]> =>
    calls.some((call) => isWanted(database, call)) ? create(...how) : [];
  return {
    wrong: await createFor(['Login'], 'wrong', UserState.ACTIVE),
    suspended: await createFor(['Login', 'RequestPasswordReset', 'RequestLoginCode'], 'suspended', UserState.SUSPENDED),
    throttled: await createFor(['Login'], 'throttled', UserState.ACTIVE),
    changing: await createFor(['ChangePassword'], 'changing', UserState.ACTIVE, true),
    changingThrottled: await createFor(['ChangePassword'], 'changing-throttled', UserState.ACTIVE, true),
    forgetful: await createFor(
      ['SignUp', 'RequestPasswordReset', 'ResetPassword'],
      'forgetful',
      UserState.ACTIVE,
      false,
      MAILS_PER_ACCOUNT,
    ),
    mailed: await createFor(
      ['RequestLoginCode', 'LoginWithCode'],
      'mailed',
      UserState.ACTIVE,
      false,
      MAILS_PER_ACCOUNT,
    ),
    guessed: await createFor(['LoginWithCode'], 'guessed', UserState.ACTIVE, false, MAILS_PER_ACCOUNT),
  };
}

function passwordOf({ username }: User): string {
  return `${PASSWORD} ${username}`;
}

function of(users: readonly User[], round: number): User {
  return users[Math.floor(round / PER_ACCOUNT)]!;
}

function from(address: string) {
  return { headers: { 'x-forwarded-for': address } };
}

function loginClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const login = (identifier: string, password: string, address: string) =>
    refusalOf(auth.login({ identifier, password }, from(address)));
  return [
    { name: 'unknown user', call: (round, address) => login(`unknown${round}`, 'guess', address) },
    { name: 'wrong password', call: (round, address) => login(of(users.wrong, round).username, 'guess', address) },
    {
      name: 'suspended user, right password',
      call: (round, address) => {
        const user = of(users.suspended, round);
        return login(user.username, passwordOf(user), address);
      },
    },
    {
      name: 'throttled, right password',
      async prepare(round, address) {
        for (let i = 0; i < 4; i++) await login(of(users.throttled, round).username, 'guess', address);
      },
      call: (round, address) => {
        const user = of(users.throttled, round);
        return login(user.username, passwordOf(user), address);
      },
    },
  ];
}

function changeClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const change = ({ accessToken }: User, currentPassword: string, address: string) => {
    const headers = { ...from(address).headers, authorization: `Bearer ${accessToken}` };
    return refusalOf(auth.changePassword({ currentPassword, newPassword: 'the next password' }, { headers }));
  };
  return [
    { name: 'wrong password', call: (round, address) => change(of(users.changing, round), 'guess', address) },
    {
      name: 'throttled, right password',
      async prepare(round, address) {
        for (let i = 0; i < 4; i++) await change(of(users.changingThrottled, round), 'guess', address);
      },
      call: (round, address) => {
        const user = of(users.changingThrottled, round);
        return change(user, passwordOf(user), address);
      },
    },
  ];
}

function mailedOf(users: readonly User[], round: number): string {
  return users[Math.floor(round / MAILS_PER_ACCOUNT)]!.username;
}

function signUpClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const ask = (name: string, address: string) => auth.signUp({ email: `${name}@example.org` }, from(address));
  return [
    { name: 'unknown address', call: (round, address) => ask(`newcomer${round}`, address) },
    { name: 'address of a user', call: (round, address) => ask(mailedOf(users.forgetful, round), address) },
  ];
}

function resetClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const ask = (identifier: string, address: string) => auth.requestPasswordReset({ identifier }, from(address));
  return [
    { name: 'unknown user', call: (round, address) => ask(`unknown${round}`, address) },
    { name: 'user', call: (round, address) => ask(mailedOf(users.forgetful, round), address) },
    { name: 'suspended user', call: (round, address) => ask(of(users.suspended, round).username, address) },
  ];
}

function codeClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const ask = (identifier: string, address: string) => auth.requestLoginCode({ identifier }, from(address));
  return [
    { name: 'unknown user', call: (round, address) => ask(`unknown${round}`, address) },
    { name: 'user', call: (round, address) => ask(mailedOf(users.mailed, round), address) },
    { name: 'suspended user', call: (round, address) => ask(of(users.suspended, round).username, address) },
  ];
}

function wrongResetClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const guess = (identifier: string, address: string) =>
    refusalOf(auth.resetPassword({ identifier, code: WRONG, newPassword: 'the next password' }, from(address)));
  return [
    { name: 'unknown user', call: (round, address) => guess(`unknown${round}`, address) },
    {
      name: 'user with a code, wrong code',
      call: (round, address) => guess(mailedOf(users.forgetful, round), address),
    },
  ];
}

function wrongCodeClasses(auth: Client<typeof AuthService>, users: Users): Class[] {
  const guess = (identifier: string, address: string) =>
    refusalOf(auth.loginWithCode({ identifier, clientToken: 'of somebody', code: WRONG }, from(address)));
  return [
    { name: 'unknown user', call: (round, address) => guess(`unknown${round}`, address) },
    { name: 'user with a code, wrong code', call: (round, address) => guess(mailedOf(users.mailed, round), address) },
    {
      name: 'user without a code, wrong code',
      call: (round, address) => guess(mailedOf(users.guessed, round), address),
    },
  ];
}

function newAddress(): string {
  addresses++;
  return `2001:db8:${(addresses >> 16).toString(16)}:${(addresses & 0xffff).toString(16)}::1`;
}

async function compare(database: string, call: string, classes: readonly Class[]): Promise<void> {
  if (!isWanted(database, call)) return;
  const times = new Map(classes.map((each) => [each, [] as number[]]));
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    const order = classes.map((each) => ({ each, address: newAddress(), at: Math.random() }));
    for (const { each, address } of order) await each.prepare?.(round, address);
    for (const { each, address } of order.toSorted((a, b) => a.at - b.at)) {
      const startMs = performance.now();
      await each.call(round, address);
      if (round >= WARM_UP) times.get(each)!.push(performance.now() - startMs);
      // What is done after the answer would count for the next one, which is of another class more often than not.
      await sleep(SETTLED_MS);
    }
  }
  const medians = [...times.values()].map((ms) => quantile(ms, 0.5));
  const first = medians[0]!;
  for (const [{ name }, ms] of times) {
    const median = quantile(ms, 0.5);
    const apart = `${median >= first ? '+' : ''}${((median / first - 1) * 100).toFixed(1)} %`;
    lines.push(
      `| ${database} | ${call} | ${name} | ${median.toFixed(2)} ms | ${quantile(ms, 0.9).toFixed(2)} ms | ${apart} |`,
    );
    console.error(lines.at(-1)); // all of it takes half an hour
  }
  if (Math.max(...medians) / Math.min(...medians) > 1 + SPREAD_MAX) isAlike = false;
}
