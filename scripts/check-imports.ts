/**
 * Check that imports go one way: the architecture as rules. A folder of src/ that LAYERS does not name
 * is a slice, so a new slice needs no entry here. Folders import folders of their own layer and of
 * layers below, and no folders import each other in a cycle.
 */
import { globSync, readFileSync } from 'node:fs';
import { glob, readFile } from 'node:fs/promises';
import { dirname, join, normalize, resolve } from 'node:path';

/** From the bottom up. What is below knows nothing of what is above. */
const LAYERS: readonly (readonly string[])[] = [
  ['src/kernel'],
  ['src/scan', 'src/metrics'],
  ['src/budget', 'src/tracing'],
  ['src/storage', 'src/identity/passwords', 'src/mail/templates'],
  ['src/config'],
  ['src/app.ts', 'src/rpc', 'src/http'],
  [], // the slices
  ['src/services.ts', 'src/purge.ts', 'src/server', 'src/server.ts'],
  ['src/cli'],
  ['src/main.ts'],
];
const SLICES = LAYERS.findIndex((folders) => folders.length === 0);

/** The reasons of refusals are those of the contract: the one thing of it that is known below the handlers, as a type. */
const REASONS = { file: 'src/kernel/failure.ts', contract: 'gen/kith/error/v1/error_pb.ts' };

/** The files of the client that Node alone runs. */
const NODE_ONLY = /\/(node|file-store|testing)\.ts$/;

const ROOT = resolve(import.meta.dirname, '..');

/** The files that the manifests of packages export. */
const ENTRIES: ReadonlySet<string> = new Set(
  globSync('packages/*/package.json', { cwd: ROOT }).flatMap((manifest) => {
    const { exports = {} } = JSON.parse(readFileSync(join(ROOT, manifest), 'utf8')) as {
      exports?: Record<string, string>;
    };
    return Object.values(exports).map((entry) => normalize(join(dirname(manifest), entry)));
  }),
);

/** The server verifies tokens as other services do, but asks nobody for keys or revocations. */
const VERIFIER = 'packages/verify/src/verify.ts';

/** What a file imports. */
export interface Import {
  readonly file: string;
  /** As it is written: `./store.ts`, `node:fs`, `kysely`. */
  readonly module: string;
  /** Whether it imports types alone. */
  readonly isType: boolean;
}

/** Why these imports are refused, a line each; empty where none is. */
export function refuseImports(imports: readonly Import[]): string[] {
  const refused = imports.flatMap((each) => {
    const why = refusalOf(each);
    return why === undefined ? [] : [`${each.file}: ${each.module}: ${why}`];
  });
  return [...refused, ...findCycles(imports)];
}

function refusalOf(each: Import): string | undefined {
  const { file, module } = each;
  if (/\.(test|testkit)\.ts$/.test(file)) return refusalInTest(each);
  if (file.startsWith('packages/verify/')) {
    return module === 'jose' || module.startsWith('./') ? undefined : 'the verifier needs jose alone';
  }
  if (file.startsWith('packages/client/') && !NODE_ONLY.test(file) && /^node:|\/connect-node$/.test(module))
    return 'the client runs in browsers: what Node alone has is behind node.ts';
  if (file.startsWith('packages/console/') && !module.startsWith('.')) {
    return /^(@kith\/client|@connectrpc\/connect|@bufbuild\/protobuf|react|react-dom|@tanstack\/react-query|uplot|uqr)(-web)?(\/|$)/.test(
      module,
    )
      ? undefined
      : 'the console is a client, and runs in browsers';
  }
  if (file.startsWith('packages/account/') && !module.startsWith('.')) {
    return module === '@kith/client/session' ? undefined : 'the account pages are small, and run in browsers';
  }
  if (file.startsWith('packages/')) {
    if (module.startsWith('.'))
      return targetOf(each).startsWith(packageOf(file)) ? undefined : 'a package stands alone';
    return /^(node:(?!sqlite)|@connectrpc\/|@bufbuild\/protobuf)/.test(module)
      ? undefined
      : 'the package needs Node and Connect alone';
  }
  return (
    refusalOfLayer(each) ??
    refusalOfDriver(each) ??
    refusalOfQuery(each) ??
    refusalOfMessages(each) ??
    refusalInSlice(each)
  );
}

function refusalInTest(each: Import): string | undefined {
  if (each.file.startsWith('packages/') || !each.module.startsWith('.')) return refusalOfDriver(each);
  return isForeignStore(each) ? 'call another slice by its verbs' : undefined;
}

function refusalOfLayer(each: Import): string | undefined {
  if (!each.module.startsWith('.')) return undefined;
  const target = targetOf(each);
  if (target === VERIFIER) return 'the verifier is for other services';
  if (target.startsWith('packages/') && !ENTRIES.has(target)) return 'a package is used by its entries';
  if (!target.startsWith('src/')) return undefined;
  return layerOf(target) > layerOf(each.file) ? `${folderOf(target)} stands above ${folderOf(each.file)}` : undefined;
}

function refusalOfDriver({ file, module }: Import): string | undefined {
  if (!/^node:sqlite$|^pg(-|$)/.test(module) || file.startsWith('src/storage/')) return undefined;
  return 'drivers belong to src/storage';
}

function refusalOfQuery({ file, module, isType }: Import): string | undefined {
  if (!/^kysely(\/|$)/.test(module) || isType || file.startsWith('src/storage/') || isStore(file)) return undefined;
  return 'queries belong to store.ts and src/storage';
}

/** Messages of the contract end at the handlers. */
function refusalOfMessages(each: Import): string | undefined {
  const { file, module } = each;
  const isGenerated = module.startsWith('.') && targetOf(each).startsWith('gen/');
  if (!isGenerated && !/^@(connectrpc|bufbuild)\//.test(module)) return undefined;
  if (each.isType && file === REASONS.file && targetOf(each) === REASONS.contract) return undefined;
  // The command line is a client.
  if (isHandler(file) || /^src\/(rpc\/|server\/|cli\/|services\.ts$)/.test(file)) return undefined;
  if (file.startsWith('src/scan/') && module.startsWith('@bufbuild/')) return undefined;
  return 'messages belong to service.ts, messages.ts and src/rpc';
}

/** In a slice: service -> verbs -> store. */
function refusalInSlice(each: Import): string | undefined {
  const { file, module } = each;
  if (!module.startsWith('.')) return undefined;
  const target = targetOf(each);
  if (isForeignStore(each)) return 'call another slice by its verbs';
  if (target.endsWith('service.ts') && file !== 'src/services.ts') return 'handlers are registered in src/services.ts';
  if (layerOf(file) !== SLICES || isHandler(file)) {
    return isHandler(file) && isStore(target) ? 'handlers call verbs' : undefined;
  }
  return isHandler(target) || target.startsWith('src/rpc/') ? 'verbs know no messages' : undefined;
}

const isStore = (file: string) => /[/-]store\.ts$/.test(file);
const isHandler = (file: string) => /(^|[/-])(service|messages)\.ts$/.test(file);

/** The store of another slice; that of a folder inside its own is none. */
function isForeignStore(each: Import): boolean {
  const target = targetOf(each);
  return isStore(target) && !target.startsWith(`${folderOf(each.file)}/`) && !each.file.startsWith('test/');
}

function targetOf({ file, module }: Import): string {
  return normalize(join(dirname(file), module));
}

function packageOf(file: string): string {
  return file.split('/').slice(0, 2).join('/');
}

/** The folder of a file: the entry of LAYERS that it is in, or its folder. */
function folderOf(file: string): string {
  const named = LAYERS.flat().find((folder) => file === folder || file.startsWith(`${folder}/`));
  return named ?? (file.startsWith('packages/') ? packageOf(file) : dirname(file));
}

function layerOf(file: string): number {
  const layer = LAYERS.findIndex((folders) => folders.includes(folderOf(file)));
  return layer === -1 ? SLICES : layer;
}

/** Folders that import each other in a cycle, each cycle once. */
function findCycles(imports: readonly Import[]): string[] {
  const edges = new Map<string, Set<string>>();
  for (const each of imports) {
    if (!each.module.startsWith('.') || /\.(test|testkit)\.ts$/.test(each.file)) continue;
    const [from, to] = [folderOf(each.file), folderOf(targetOf(each))];
    if (from !== to) edges.set(from, (edges.get(from) ?? new Set()).add(to));
  }
  const finished = new Set<string>();
  const cycles: string[] = [];
  const visit = (folder: string, path: readonly string[]) => {
    const start = path.indexOf(folder);
    if (start !== -1) cycles.push(`folders in a cycle: ${[...path.slice(start), folder].join(' -> ')}`);
    if (start !== -1 || finished.has(folder)) return;
    for (const next of edges.get(folder) ?? []) visit(next, [...path, folder]);
    finished.add(folder);
  };
  for (const folder of edges.keys()) visit(folder, []);
  return cycles;
}

/** The imports of a module's source, which the formatter has written. */
export function importsOf(file: string, source: string): Import[] {
  const statements = source.matchAll(
    /^(?:import|export)\s(?<type>type\s)?[^;'"]*?from '(?<from>[^']+)'|\bimport\('(?<dynamic>[^']+)'\)/gm,
  );
  return [...statements].map(({ groups }) => ({
    file,
    module: groups?.['from'] ?? groups?.['dynamic'] ?? '',
    isType: groups?.['type'] !== undefined,
  }));
}

if (import.meta.main) {
  const imports: Import[] = [];
  for await (const file of glob('{src,packages/*/src}/**/*.{ts,tsx}', { cwd: ROOT })) {
    imports.push(...importsOf(file, await readFile(join(ROOT, file), 'utf8')));
  }
  const refused = refuseImports(imports);
  for (const line of refused) console.error(line);
  process.exitCode = refused.length === 0 ? 0 : 1;
}
