import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { needCommand, run, skipLoudly } from './support/commands.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';
import { signingKeyOf } from './support/signing-key.ts';
import { sectionOf } from './support/tour.ts';

const DOCUMENT = await readFile('docs/verify.md', 'utf8');
const EXAMPLE_ISSUER = 'https://kith.example.org';

/** Where packages of other languages are kept from one run to the next: installing takes far longer than the test. */
const CACHE = resolve('node_modules/.cache/kith-verify-elsewhere');
const INSTALL_MAX_MS = 180_000;
/** The exit code of the command timeout. */
const TIMED_OUT = 124;

const cleanUp = new AsyncDisposableStack();
let kith: Kith;
let admin: SignedIn;
let issuer = '';
let directory = '';

beforeAll(async () => {
  const relay = cleanUp.use(await startRelay());
  issuer = relay.address;
  kith = cleanUp.use(await startKith({ env: { KITH_ISSUER: issuer } }));
  relay.upstream = kith.address;
  admin = await kith.admin();
  directory = await mkdtemp(join(tmpdir(), 'kith-verify-'));
  await mkdir(CACHE, { recursive: true });
});
afterAll(async () => {
  await cleanUp.disposeAsync();
  await rm(directory, { recursive: true, force: true });
});

/** The code of a language under a heading of docs/verify.md, for the issuer of the test. */
function exampleOf(heading: string, language: string): string {
  const [, code] = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(sectionOf(DOCUMENT, heading))!;
  return code!.replaceAll(EXAMPLE_ISSUER, issuer);
}

/** A program that reads tokens, a line each, and prints what it makes of each: subject, roles and scope, or "refused". */
async function startProgram(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(command, args, {
    cwd: directory,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    async ask(token: string): Promise<string> {
      child.stdin!.write(`${token}\n`);
      return String((await lines.next()).value);
    },
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** What a verifier must refuse, each signed with the server's own key but where it says otherwise. */
async function forgeries(): Promise<Record<string, string>> {
  const { kid, privateKey } = await signingKeyOf(kith);
  const claims = decodeJwt(admin.accessToken);
  const header = { alg: 'ES256', typ: 'at+jwt', kid };
  const signed = (changes: object, of: object = header, key: Parameters<SignJWT['sign']>[0] = privateKey) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader(of as typeof header).sign(key);
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const [, payload, signature] = admin.accessToken.split('.');
  const other = await generateKeyPair('ES256');
  return {
    'the type JWT': await signed({}, { ...header, typ: 'JWT' }),
    'the type of a logout token': await signed({}, { ...header, typ: 'logout+jwt' }),
    'no type': await signed({}, { alg: 'ES256', kid }),
    'another issuer': await signed({ iss: 'https://elsewhere.example' }),
    'an issuer with a slash more': await signed({ iss: `${claims.iss}/` }),
    'another audience': await signed({ aud: 'elsewhere' }),
    'no audience': await signed({ aud: undefined }),
    'no expiry': await signed({ exp: undefined }),
    expired: await signed({ iat: claims.iat! - 3600, exp: claims.iat! - 600 }),
    'no algorithm': `${encode({ ...header, alg: 'none' })}.${payload}.`,
    'another algorithm': `${encode({ ...header, alg: 'HS256' })}.${payload}.${signature}`,
    'another key': await signed({}, header, other.privateKey),
    'a signature cut short': admin.accessToken.slice(0, -4),
    nonsense: 'nonsense',
  };
}

async function expectVerifies(program: Awaited<ReturnType<typeof startProgram>>): Promise<void> {
  const { user, accessToken } = await kith.user(Role.EDITOR);
  expect(await program.ask(accessToken)).toBe(`${user.id} editor `);
  const keys = kith.client(ApiKeyService, admin.accessToken);
  const { secret } = await keys.createApiKey({ name: 'of a service', permissions: [Permission.USERS_READ] });
  const exchanged = await kith.client(ApiKeyService, secret).exchangeApiKey({});
  expect(await program.ask(exchanged.accessToken)).toBe(`${admin.user.id} admin users.read`);
  const answers: Record<string, string> = {};
  for (const [name, token] of Object.entries(await forgeries())) answers[name] = await program.ask(token);
  expect(answers).toEqual(Object.fromEntries(Object.keys(answers).map((name) => [name, 'refused'])));
}

describe('docs/verify.md: what a service in another language verifies with takes tokens of Kith and nothing else', () => {
  test('jose', async () => {
    const main = `
import { createInterface } from 'node:readline';
for await (const token of createInterface({ input: process.stdin })) {
  console.log(await verify(token).then(({ sub, roles, scope = '' }) => [sub, roles, scope].join(' '), () => 'refused'));
}`;
    await writeFile(join(directory, 'main.mjs'), exampleOf('### jose', 'js') + main);
    await mkdir(join(directory, 'node_modules'), { recursive: true });
    await symlink(resolve('node_modules/jose'), join(directory, 'node_modules/jose'));
    await using program = await startProgram(process.execPath, ['main.mjs']);
    await expectVerifies(program);
  });

  test('PyJWT', { timeout: 2 * INSTALL_MAX_MS }, async (context) => {
    const python = needCommand(context, 'python3');
    const packages = join(CACHE, 'python');
    const env = { PYTHONPATH: packages };
    const hasPackages = async () => (await run(python, ['-c', 'import jwt, cryptography'], env)).code === 0;
    if (!(await hasPackages())) {
      const pip = ['-m', 'pip', 'install', '--quiet', '--no-compile', '--only-binary', ':all:', '--target', packages];
      await run('timeout', [String(INSTALL_MAX_MS / 1000), python, ...pip, 'PyJWT[crypto]==2.10.1']);
      if (!(await hasPackages())) skipLoudly(context, 'PyJWT cannot be installed here');
    }
    const main = `
import sys

for line in sys.stdin:
    try:
        claims = verify(line.strip())
        print(claims['sub'], ' '.join(claims['roles']), claims.get('scope', ''), flush=True)
    except jwt.PyJWTError:
        print('refused', flush=True)
`;
    await writeFile(join(directory, 'main.py'), exampleOf('### PyJWT', 'python') + main);
    await using program = await startProgram(python, ['main.py'], env);
    await expectVerifies(program);
  });

  test('golang-jwt', { timeout: 2 * INSTALL_MAX_MS }, async (context) => {
    const go = needCommand(context, 'go');
    const main = `package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
)

func main() {
	verify, err := NewVerifier(context.Background())
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if claims, err := verify(lines.Text()); err != nil {
			fmt.Println("refused")
		} else {
			fmt.Println(claims.Subject, strings.Join(claims.Roles, " "), claims.Scope)
		}
	}
}
`;
    const module = `module example.org/service

go 1.25.0

require (
	github.com/MicahParks/jwkset v0.11.4 // indirect
	github.com/MicahParks/keyfunc/v3 v3.9.1
	github.com/golang-jwt/jwt/v5 v5.3.1
	golang.org/x/time v0.15.0 // indirect
)
`;
    await mkdir(join(directory, 'go'));
    await writeFile(join(directory, 'go/go.mod'), module);
    await writeFile(join(directory, 'go/main.go'), main);
    await writeFile(
      join(directory, 'go/auth.go'),
      exampleOf('### golang-jwt', 'go').replace('package auth', 'package main'),
    );
    const env = { GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local' };
    const limit = [String(INSTALL_MAX_MS / 1000), go, '-C', join(directory, 'go')];
    const download = await run('timeout', [...limit, 'mod', 'download', 'all'], env);
    if (download.code !== 0) skipLoudly(context, 'Go is too old here, or its modules cannot be downloaded');
    const build = await run('timeout', [...limit, 'build', '-o', 'verify', '.'], env);
    if (build.code === TIMED_OUT) skipLoudly(context, `Go does not build within ${INSTALL_MAX_MS / 1000} s here`);
    expect(build).toMatchObject({ code: 0, stderr: '' });
    await using program = await startProgram(join(directory, 'go/verify'), []);
    await expectVerifies(program);
  });
});
