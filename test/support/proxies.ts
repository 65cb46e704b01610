import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { probe } from './process.ts';
import { freePort } from './free-port.ts';

const CERT = resolve('test/fixtures/tls/localhost-cert.pem');
const KEY = resolve('test/fixtures/tls/localhost-key.pem');

/** A proxy that deploy/ has a configuration for. */
export interface ProxyKind {
  readonly command: string;
  /** The configuration, relative to the repository. */
  readonly file: string;
  /** What differs between that file and a trial on this machine: each text stands in the file. */
  replacements(ports: Ports): readonly (readonly [text: string, by: string])[];
  /** Files to write into the directory of the trial, beside the configuration. */
  files?(config: string): Readonly<Record<string, string>>;
  args(config: string): readonly string[];
}

export interface Ports {
  readonly kith: number;
  readonly proxy: number;
}

export const proxyKinds: readonly ProxyKind[] = [
  {
    command: 'nginx',
    file: 'deploy/nginx/kith.conf',
    replacements: ({ kith, proxy }) => [
      ['server 127.0.0.1:8080;', `server 127.0.0.1:${kith};`],
      ['listen 443 ssl http2;', `listen 127.0.0.1:${proxy} ssl http2;`],
      ['    listen [::]:443 ssl http2;\n', ''],
      ['kith.example.org;', 'localhost;'],
      ['/etc/ssl/kith/cert.pem', CERT],
      ['/etc/ssl/kith/key.pem', KEY],
    ],
    files: (config) => ({
      'nginx.conf': [
        'daemon off;',
        'pid nginx.pid;',
        'error_log stderr;',
        'events {}',
        'http {',
        '  access_log off;',
        ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${name};`),
        `  include ${config};`,
        '}',
      ].join('\n'),
    }),
    args: (config) => ['-p', resolve(config, '..'), '-e', 'stderr', '-c', 'nginx.conf'],
  },
  {
    command: 'caddy',
    file: 'deploy/caddy/Caddyfile',
    replacements: ({ kith, proxy }) => [
      ['\n{\n', '\n{\n\tadmin off\n\tauto_https off\n'],
      ['h2c://127.0.0.1:8080', `h2c://127.0.0.1:${kith}`],
      ['\nkith.example.org {\n', `\nhttps://localhost:${proxy} {\n\tbind 127.0.0.1\n\ttls ${CERT} ${KEY}\n`],
    ],
    args: (config) => ['run', '--adapter', 'caddyfile', '--config', config],
  },
  {
    command: 'envoy',
    file: 'deploy/envoy/envoy.yaml',
    replacements: ({ kith, proxy }) => [
      ['address: 127.0.0.1, port_value: 8080', `address: 127.0.0.1, port_value: ${kith}`],
      ['address: 0.0.0.0, port_value: 443', `address: 127.0.0.1, port_value: ${proxy}`],
      ['/etc/ssl/kith/cert.pem', CERT],
      ['/etc/ssl/kith/key.pem', KEY],
    ],
    args: (config) => ['--config-path', config, '--use-dynamic-base-id', '--concurrency', '1', '--log-level', 'warn'],
  },
];

/** A proxy in front of a server of this machine. */
export interface Proxy extends AsyncDisposable {
  /** As a URL without a path. */
  readonly address: string;
}

/** Starts the program at `path` with the configuration of deploy/, and waits until it reaches the server. */
export async function startProxy(kind: ProxyKind, path: string, kithPort: number): Promise<Proxy> {
  const directory = await mkdtemp(join(tmpdir(), `kith-${kind.command}-`));
  const ports = { kith: kithPort, proxy: await freePort() };
  let text = await readFile(kind.file, 'utf8');
  for (const [there, by] of kind.replacements(ports)) {
    if (!text.includes(there)) throw new Error(`${kind.file} does not have ${JSON.stringify(there)}`);
    text = text.replace(there, by);
  }
  const config = join(directory, kind.file.split('/').at(-1)!);
  await writeFile(config, text);
  for (const [name, content] of Object.entries(kind.files?.(config) ?? {})) {
    await writeFile(join(directory, name), content);
  }
  const child = spawn(path, kind.args(config), {
    cwd: directory,
    // Caddy keeps what it makes in these directories.
    env: { PATH: process.env['PATH'], HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = outputOf(child);
  const ended = once(child, 'close');
  const proxy: Proxy = {
    address: `https://localhost:${ports.proxy}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM'); // at once, for each of them
      const killing = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await ended;
      clearTimeout(killing);
      await rm(directory, { recursive: true, force: true });
    },
  };
  for (;;) {
    const status = await probe(`${proxy.address}/readyz`).then(
      (answer) => answer.status,
      () => undefined,
    );
    if (status === 200) return proxy;
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${kind.command} ended:\n${output()}`);
    }
    await sleep(20);
  }
}

function outputOf(child: ChildProcess): () => string {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return () => output;
}
