import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { createVerifier, type Verifier, type VerifierOptions } from './verify.ts';

/** Somebody who publishes keys and signs tokens as Kith does, and also as Kith never would. */
export interface Issuer extends AsyncDisposable {
  readonly address: string;
  /** How often the keys were asked for. */
  readonly requests: number;
  /** How many connections there are now. */
  connections(): Promise<number>;
  /** What is published. */
  keys: JWK[];
  /** The headers that go with it. */
  headers: Record<string, string>;
  /** Answers instead, when it is set. */
  answer: RequestListener | undefined;
  /** Answers what is no question for keys. */
  otherwise: RequestListener;
  /** The private key that signs, and its id. */
  readonly signer: { readonly kid: string; readonly privateKey: CryptoKey };
  /** Makes a new key and signs with it. It is published beside the others, or instead of them. */
  rotate(how?: 'beside' | 'instead'): Promise<void>;
  /** The token of a session; undefined leaves a claim or header out. */
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>, key?: CryptoKey): Promise<string>;
  /** A verifier of its tokens, with the clock below. Its errors are kept. */
  verifier(options?: Partial<VerifierOptions>): Verifier;
  /** What verifiers were told of. */
  readonly errors: Error[];
  /** The clock of verifiers and of what is signed, which stands still: add to it to let time pass. */
  readonly clock: { ms: number };
}

export async function startIssuer(): Promise<Issuer> {
  const server = createServer((request, response) => {
    if (request.url !== '/.well-known/jwks.json') return issuer.otherwise(request, response);
    state.requests += 1;
    if (issuer.answer !== undefined) return issuer.answer(request, response);
    response.writeHead(200, issuer.headers).end(JSON.stringify({ keys: issuer.keys }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clock = { ms: Date.now() };
  const now = () => clock.ms;
  const state = { requests: 0, signer: undefined as Issuer['signer'] | undefined };
  const verifiers: Verifier[] = [];
  const issuer: Issuer = {
    address,
    get requests() {
      return state.requests;
    },
    connections: promisify(server.getConnections.bind(server)),
    keys: [],
    headers: { 'content-type': 'application/jwk-set+json', 'cache-control': 'public, max-age=300' },
    answer: undefined,
    otherwise: (_, response) => response.writeHead(404).end(),
    get signer() {
      return state.signer!;
    },
    async rotate(how = 'beside') {
      const { publicKey, privateKey } = await generateKeyPair('ES256');
      const jwk = await exportJWK(publicKey);
      const kid = await calculateJwkThumbprint(jwk);
      state.signer = { kid, privateKey };
      issuer.keys = [{ ...jwk, kid, alg: 'ES256', use: 'sig' }, ...(how === 'beside' ? issuer.keys : [])];
    },
    async sign(claims = {}, header = {}, key = issuer.signer.privateKey) {
      const seconds = Math.floor(now() / 1000);
      const all = {
        iss: address,
        aud: 'kith',
        sub: randomUUID(),
        sid: randomUUID(),
        jti: randomUUID(),
        iat: seconds,
        exp: seconds + 300,
        roles: ['editor'],
        auth_time: seconds - 60,
        amr: ['pwd'],
        ...claims,
      };
      const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
      const protectedHeader = { alg: 'ES256', typ: 'at+jwt', kid: issuer.signer.kid, ...header };
      return new SignJWT(present).setProtectedHeader(protectedHeader).sign(key);
    },
    verifier(options) {
      const verifier = createVerifier({
        issuer: address,
        now,
        onError: (error) => issuer.errors.push(error),
        ...options,
      });
      verifiers.push(verifier);
      return verifier;
    },
    errors: [],
    clock,
    async [Symbol.asyncDispose]() {
      for (const verifier of verifiers) await verifier.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  await issuer.rotate();
  return issuer;
}

/** Seconds to milliseconds, for clocks. */
export const seconds = (count: number) => count * 1000;
