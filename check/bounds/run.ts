import { createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import type { Account, AttackOptions, Tally } from './attack.ts';
import type { AttackerQuestion } from './attacker.ts';
import type { Experience, NeighbourQuestion } from './neighbours.ts';
import { Peer } from './peer.ts';
import { ADMIN_PASSWORD, commands, Target, type TargetOptions } from './server.ts';
import type { Shape } from './shape.ts';
import { judge, type Limits, type Observation, percentile } from './verdict.ts';
import { signedIn } from '../../test/support/sign-in.ts';

export interface BoundsOptions {
  readonly target: Omit<TargetOptions, 'databaseUrl'>;
  /** KITH_DATABASE_URL of a new database; undefined for a SQLite file of the server's own. */
  readonly createDatabase?: (() => Promise<string>) | undefined;
  readonly shapes: readonly Shape[];
  /** How long each attack goes on. */
  readonly seconds: number;
  readonly seed: string;
  readonly limits: Limits;
}

export interface Result extends Observation {
  /** What was broken; none when all held. */
  readonly broken: readonly string[];
  readonly logBytes: number;
}

/** Calls from several loopback addresses, where a machine has them. */
const hasAddresses = process.platform === 'linux';

/** How many times as long an attack goes on that was only slow, to be judged by more calls. */
const LONGER = 10;

/** How long memory may take to come back, milliseconds. */
const SETTLE_MAX_MS = 8000;

/** An attacker that takes longer than its time and this has hung, milliseconds. */
const ATTACK_GRACE_MS = 60_000;
const PREPARE_MAX_MS = 120_000;

/** What stands around the attacks: a server, and those who use it as it is meant. */
class Scene implements AsyncDisposable {
  readonly target: Target;
  readonly neighbours: Peer;
  readonly editor: Account;
  readonly apiKey: string;
  readonly #adminToken: string;
  readonly #sessions: Http2SessionManager;
  idleP99Ms = 0;

  private constructor(
    target: Target,
    neighbours: Peer,
    made: { editor: Account; apiKey: string; adminToken: string; sessions: Http2SessionManager },
  ) {
    this.target = target;
    this.neighbours = neighbours;
    this.editor = made.editor;
    this.apiKey = made.apiKey;
    this.#adminToken = made.adminToken;
    this.#sessions = made.sessions;
  }

  static async start({ target: options, createDatabase }: BoundsOptions): Promise<Scene> {
    const target = await Target.start({ ...options, databaseUrl: await createDatabase?.() });
    const sessions = new Http2SessionManager(target.address);
    const { accessToken: adminToken } = await signIn(target, sessions, 'admin', ADMIN_PASSWORD);
    const editor = await createAccount(target, sessions, adminToken, Role.EDITOR);
    const keys = createClient(ApiKeyService, transport(target, sessions, editor.accessToken));
    const permissions = [Permission.USERS_READ, Permission.CONTACTS_WRITE, Permission.ACTIVITY_READ];
    const { secret: apiKey } = await keys.createApiKey({ name: 'attacker', permissions });
    const neighbours = new Peer(fileURLToPath(new URL('neighbours.ts', import.meta.url)), commands.neighbours);
    const scene = new Scene(target, neighbours, { editor, apiKey, adminToken, sessions });
    const signer = await scene.createViewer();
    await scene.ask({ ask: 'meet', port: target.port, signer, hasAddresses });
    return scene;
  }

  createViewer(): Promise<Account> {
    return createAccount(this.target, this.#sessions, this.#adminToken, Role.VIEWER);
  }

  ask<T>(question: NeighbourQuestion): Promise<T> {
    return this.neighbours.ask<T>(question);
  }

  /** Calls as long as an attack would, with nobody attacking, and takes the p99 of that as the idle one. */
  async measureIdle(seconds: number): Promise<Experience> {
    await this.ask({ ask: 'begin', account: await this.createViewer() });
    await sleep(1500); // what is compiled and cached first is not what is measured
    await this.ask({ ask: 'mark' });
    await sleep(seconds * 1000);
    const idle = await this.ask<Experience>({ ask: 'end' });
    this.idleP99Ms = percentile(idle.callsMs, 99);
    return idle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sessions.abort();
    this.neighbours[Symbol.dispose]();
    await this.target[Symbol.asyncDispose]();
  }
}

function transport(target: Target, sessionManager: Http2SessionManager, token?: string) {
  const sign: Interceptor = (next) => (request) => {
    if (token !== undefined) request.header.set('authorization', `Bearer ${token}`);
    return next(request);
  };
  return createGrpcTransport({
    baseUrl: target.address,
    sessionManager,
    interceptors: [sign],
    defaultTimeoutMs: 30_000,
  });
}

async function signIn(
  target: Target,
  sessions: Http2SessionManager,
  identifier: string,
  password: string,
): Promise<Account> {
  const { user, accessToken, refreshToken } = await signedIn(
    createClient(AuthService, transport(target, sessions)).login({
      identifier,
      password,
    }),
  );
  return { id: user.id, username: identifier, password, accessToken, refreshToken };
}

let accounts = 0;

async function createAccount(
  target: Target,
  sessions: Http2SessionManager,
  adminToken: string,
  role: Role,
): Promise<Account> {
  const username = `account${++accounts}`;
  const password = `password of ${username}`;
  const users = createClient(UserService, transport(target, sessions, adminToken));
  await users.createUser({ username, email: `${username}@example.org`, name: username, role, password });
  return signIn(target, sessions, username, password);
}

/** Runs the shapes, one after the other, against one server, or the next one when it has ended. */
export async function* runBounds(
  options: BoundsOptions,
): AsyncGenerator<Result, { idleP99Ms: number; idleAfterP99Ms: number }> {
  let scene = await Scene.start(options);
  let idleP99Ms = 0;
  try {
    if (options.limits.judgesTime) await scene.measureIdle(options.seconds + 1);
    idleP99Ms = scene.idleP99Ms;
    for (const shape of options.shapes) {
      let result = await runShape(scene, shape, options);
      if (isSlowAlone(result, options.limits) && (await isWell(scene))) {
        result = await runShape(scene, shape, { ...options, seconds: LONGER * options.seconds });
      }
      yield result;
      // What an attack leaves broken must not be counted against the next.
      if (result.ended === undefined && (await isWell(scene)) && result.broken.length === 0) continue;
      await scene[Symbol.asyncDispose]();
      scene = await Scene.start(options);
      scene.idleP99Ms = idleP99Ms;
    }
    const after = options.limits.judgesTime ? await scene.measureIdle(options.seconds) : undefined;
    return { idleP99Ms, idleAfterP99Ms: percentile(after?.callsMs ?? [], 99) };
  } finally {
    await scene[Symbol.asyncDispose]();
  }
}

/** Whether nothing but times were broken: the p99 of some hundred calls are three of them, and no verdict. */
function isSlowAlone(result: Result, limits: Limits): boolean {
  return result.broken.length > 0 && judge(result, { ...limits, judgesTime: false }).length === 0;
}

async function isWell({ target }: Scene): Promise<boolean> {
  const response = await fetch(`${target.address}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(
    () => undefined,
  );
  return response?.status === 200;
}

async function runShape(scene: Scene, shape: Shape, { seconds, seed, limits }: BoundsOptions): Promise<Result> {
  const { target } = scene;
  const troubles: string[] = [];
  const trouble = (what: string) => (error: unknown) => {
    troubles.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  };
  using attacker = new Peer(fileURLToPath(new URL('attacker.ts', import.meta.url)), commands.attacker);
  const ask = <T>(question: AttackerQuestion, ms: number) => within(ms, attacker.ask<T>(question));
  let tally: Tally | undefined;
  let experience: Experience | undefined;
  let liveBeforeBytes = 0;
  let logBefore = 0;
  try {
    const [own, viewer] = [await scene.createViewer(), await scene.createViewer()];
    const options: AttackOptions = {
      port: target.port,
      seconds,
      seed: `${seed} ${shape.name}`,
      viewer,
      editor: scene.editor,
      apiKey: scene.apiKey,
      address: hasAddresses ? (shape.sharesAddress ? '127.0.0.2' : nextAddress()) : undefined,
    };
    target.watchPeak(); // what is prepared counts too
    await ask({ ask: 'prepare', shape: shape.name, options }, PREPARE_MAX_MS);
    liveBeforeBytes = (await target.settle())?.liveBytes ?? 0;
    logBefore = target.logBytes;
    await scene.ask({ ask: 'begin', account: own });
    await sleep(300);
    await scene.ask({ ask: 'mark' });
    tally = await ask<Tally>({ ask: 'attack' }, seconds * 1000 + ATTACK_GRACE_MS);
  } catch (error) {
    trouble('the attacker')(error);
  }
  experience = await scene.ask<Experience | undefined>({ ask: 'end' }).catch(trouble('the well-behaved'));
  attacker[Symbol.dispose]();
  const liveAfterBytes = await settle(target, liveBeforeBytes + limits.marginBytes);
  const ended = await target.ending();
  const seen: Observation = {
    shape,
    tally,
    experience,
    idleP99Ms: scene.idleP99Ms,
    ended,
    peakRssBytes: target.readPeak(),
    liveBeforeBytes,
    liveAfterBytes,
    faults: await target.readFaults(),
    troubles: ended === undefined ? troubles : [],
  };
  return { ...seen, broken: judge(seen, limits), logBytes: target.logBytes - logBefore };
}

let attacks = 0;

/** Each attack has an address of its own: what one is made to pay is not taken from the next. */
function nextAddress(): string {
  attacks += 1;
  return `127.2.${Math.floor(attacks / 250)}.${1 + (attacks % 250)}`;
}

/** What is live once it is no more than `enough`, or after some seconds. */
async function settle(target: Target, enough: number): Promise<number> {
  for (const endMs = performance.now() + SETTLE_MAX_MS; ; ) {
    const live = (await target.settle())?.liveBytes ?? 0;
    if (live <= enough || performance.now() > endMs) return live;
    await sleep(250);
  }
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no end after ${ms / 1000} s`)), ms);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
