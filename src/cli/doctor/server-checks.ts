import { connect as connectTls } from 'node:tls';
import { Health, HealthCheckResponse_ServingStatus } from '../../../gen/health/v1/health_pb.ts';
import { KithError } from '../../../packages/client/src/index.ts';
import { createKith } from '../../../packages/client/src/node.ts';
import { CLOCKS_DIFFER_MS, systemClock } from '../../kernel/clock.ts';
import { connect, fetchAsKith, type Target } from '../client/connect.ts';
import { explainCallFailure } from '../client/failures.ts';
import { safeText } from '../terminal/safe-text.ts';
import { certificateFinding, fault, type Finding, ok, warning } from './finding.ts';

const TIMEOUT_MS = 5_000;

/** Looks at a server that runs, from where its clients are. `isMeant`: whether somebody said that there is one. */
export async function* checkServer(target: Target, isMeant: boolean, signal: AbortSignal): AsyncGenerator<Finding> {
  const { url } = target;
  if (url.startsWith('https:')) {
    const finding = await checkCertificate(new URL(url));
    yield finding;
    if (finding.status === 'error') return;
  }
  let response: Response;
  const sentMs = systemClock.now();
  try {
    response = await get(`${url}/readyz?verbose`, signal);
  } catch (error) {
    signal.throwIfAborted();
    const text = `nothing answers at ${url}: ${networkMessage(error)}`;
    yield isMeant
      ? fault('server', text, 'Start it, or give its address with --url.')
      : warning('server', text, 'kith serve starts it; --url names another.');
    return;
  }
  const text = await response.text();
  if (!/^(200|503)$/.test(String(response.status)) || !response.headers.get('content-type')?.startsWith('text/plain')) {
    yield fault(
      'server',
      `what answers at ${url} is not Kith (HTTP ${response.status})`,
      'Give the address of Kith with --url; a proxy has to pass on /readyz.',
    );
    return;
  }
  yield response.ok
    ? ok('server', `${url} is ready`)
    : fault(
        'server',
        `${url} is not ready: ${safeText(text.trim().split('\n').join('; '))}`,
        'See the log of the server.',
      );
  yield* checkClock(response, sentMs);
  yield checkProxy(response);
  yield await checkKeys(url, signal);
  yield await checkGrpc(url, signal);
  yield await checkSignIn(target, signal);
}

function* checkClock(response: Response, sentMs: number): Generator<Finding> {
  const dateMs = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(dateMs)) return;
  const middleMs = (sentMs + systemClock.now()) / 2;
  const differenceMs = Math.abs(dateMs + 500 - middleMs);
  yield differenceMs > CLOCKS_DIFFER_MS
    ? warning(
        'clock',
        `those of this machine and the server differ by ${Math.round(differenceMs / 1000)} s`,
        'Synchronize both (NTP).',
      )
    : ok('clock', 'that of the server is within a minute of this one');
}

/** Kith names itself in no header, so that whatever is named is between. */
function checkProxy({ headers }: Response): Finding {
  const named = [headers.get('server'), headers.get('via')].filter((name) => name !== null).map(safeText);
  if (named.length === 0) return ok('proxy', 'no proxy says that it is between');
  return warning(
    'proxy',
    `calls go through a proxy (${named.join(', ')})`,
    'On the server, KITH_TRUSTED_PROXIES has to name its address, or all callers count as one; kith sessions list shows the address that it sees.',
  );
}

async function checkKeys(url: string, signal: AbortSignal): Promise<Finding> {
  try {
    const response = await get(`${url}/.well-known/jwks.json`, signal);
    const { keys } = (await response.json()) as { keys?: unknown };
    if (response.ok && Array.isArray(keys) && keys.length > 0)
      return ok('keys', `${keys.length} public keys are handed out`);
  } catch {
    signal.throwIfAborted();
  }
  return fault(
    'keys',
    'no public keys are handed out at /.well-known/jwks.json',
    'Services cannot verify tokens. Let the proxy pass that path on.',
  );
}

async function checkGrpc(url: string, signal: AbortSignal): Promise<Finding> {
  using kith = createKith({ url, attemptsMax: 1, timeoutMs: TIMEOUT_MS });
  try {
    const { status } = await kith.raw(Health).check({}, { signal });
    if (status === HealthCheckResponse_ServingStatus.SERVING) return ok('gRPC', 'passes');
  } catch {
    signal.throwIfAborted();
  }
  return warning(
    'gRPC',
    'does not pass, though Connect does',
    'What is between has to speak HTTP/2 on both sides; deploy/ has configurations.',
  );
}

async function checkSignIn(target: Target, signal: AbortSignal): Promise<Finding> {
  const name = 'sign-in';
  if (target.apiKey === undefined && target.session === undefined)
    return warning(name, `nobody is signed in with the profile ${target.profile}`, 'kith login signs in.');
  try {
    const { user } = await connect(target).auth.userMe({}, { signal });
    return ok(
      name,
      safeText(`as ${user?.username || user?.id}${target.apiKey === undefined ? '' : ', with an API key'}`),
    );
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof KithError ? explainCallFailure(error)?.lines[0] : undefined;
    return fault(
      name,
      why ?? String(error),
      target.apiKey === undefined ? 'kith login signs in again.' : 'Make another key: kith keys create.',
    );
  }
}

/** The certificate that the server shows, whether or not it is trusted. */
async function checkCertificate({ hostname, port }: URL): Promise<Finding> {
  const { promise, resolve } = Promise.withResolvers<Finding>();
  const host = hostname.replace(/^\[|\]$/g, '');
  const socket = connectTls({
    host,
    port: Number(port) || 443,
    servername: /^[\d.]+$|:/.test(host) ? '' : host,
    rejectUnauthorized: false,
  });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  socket.once('error', (error) =>
    resolve(fault('TLS', `no TLS with ${hostname}: ${error.message}`, 'Is it an https address?')),
  );
  socket.once('secureConnect', () => {
    const { valid_from: from, valid_to: to } = socket.getPeerCertificate();
    const finding = certificateFinding('TLS', Date.parse(from), Date.parse(to), systemClock.now());
    if (finding.status === 'error' || socket.authorized) resolve(finding);
    else
      resolve(
        fault(
          'TLS',
          `the certificate is not trusted: ${String(socket.authorizationError)}`,
          'For an authority of your own, set NODE_EXTRA_CA_CERTS to its certificate.',
        ),
      );
    socket.destroy();
  });
  return promise;
}

function get(url: string, signal: AbortSignal): Promise<Response> {
  return fetchAsKith(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]), redirect: 'manual' });
}

function networkMessage(error: unknown): string {
  const { cause } = error as Error;
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message;
  return cause instanceof Error ? cause.message : (error as Error).message;
}
