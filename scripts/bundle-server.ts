/**
 * Bundles the server: some thirty modules in place of 1,400, which take most of a start to find and to link. What is
 * loaded on demand stays a module of its own, and so do the threads.
 */
import { readFile, readdir } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';

const ROOT = resolve(import.meta.dirname, '..');

const THREADS = [
  'src/contacts/photos/photo-thread.ts',
  'src/identity/passwords/bcrypt-worker.ts',
  'src/rpc/compression-thread.ts',
  'src/storage/sqlite-thread-entry.ts',
];
const ENTRIES = ['src/main.ts', 'src/launcher.ts', ...THREADS];

/**
 * What stays a package: argon2 has native parts, an OpenTelemetry SDK looks for the API where it is installed itself, and
 * codecs are files in WebAssembly that are loaded when a photo is to be read.
 */
export const UNBUNDLED = ['@jsquash/jpeg', '@jsquash/png', '@jsquash/webp', '@node-rs/argon2', '@opentelemetry/api'];

/** What pg asks for where it is installed, which it is nowhere. */
const ABSENT = 'pg-native';

/** A package in the bundle. */
export interface Bundled {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** The texts of its licence and notices. */
  readonly texts: readonly string[];
}

/**
 * Writes the modules to `src` of a folder. What they read by its place, such as gen/contract.binpb or
 * src/mail/templates, they look for where it is in the repository, seen from that folder. Returns what is bundled.
 * Throws for an import that cannot be found, and for a place that a source looks for in a way that is not known here.
 */
export async function bundleServer(out: string): Promise<readonly Bundled[]> {
  const bundle = await rolldown({
    cwd: ROOT,
    platform: 'node',
    input: Object.fromEntries(ENTRIES.map((path) => [basename(path, '.ts'), path])),
    external: [...UNBUNDLED.map((name) => new RegExp(`^${name}(/|$)`)), ABSENT],
    plugins: [placesPlugin(), httpPlugin()],
    onLog(level, log) {
      if (level === 'warn') throw new Error(log.message);
    },
  });
  const { output } = await bundle.write({
    dir: join(out, 'src'),
    format: 'esm',
    chunkFileNames: '[name]-[hash].js',
    comments: false, // licences are in a file beside it
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: false, asciiOnly: true } },
  });
  await bundle.close();
  const modules = output.flatMap((part) => (part.type === 'chunk' ? part.moduleIds : []));
  return describePackages(modules);
}

/** All modules are in one folder then, so a place is written as it is seen from there. */
function placesPlugin(): Plugin {
  return {
    name: 'places',
    transform: {
      filter: { id: /\.ts$/, code: 'import.meta.url' },
      handler(code, id) {
        const source = relative(ROOT, id);
        if (source === 'src/launcher.ts') return undefined; // stays where it is, beside main.js
        const placed = code.replaceAll(
          /new URL\((['`])([\w/.${}-]+)\1, import\.meta\.url\)/g,
          (_all, quote: string, place: string) => `new URL(${quote}${seenFromBundle(source, place)}${quote}, BUNDLE)`,
        );
        if (placed.includes('import.meta.url'))
          throw new Error(`${source} looks for a place in a way that is not known`);
        return placed.replaceAll(', BUNDLE)', ', import.meta.url)');
      },
    },
  };
}

/** What the bundle uses of node:http. An import of all of it, as `import` is, has Node load its fetch as well. */
const HTTP = ['Agent', 'IncomingMessage', 'STATUS_CODES', 'Server', 'ServerResponse', 'createServer', 'get', 'request'];

function httpPlugin(): Plugin {
  const id = '\0http';
  return {
    name: 'http',
    resolveId: {
      filter: { id: /^(?:node:)?http$/ },
      handler: (_id, _importer, { kind }) => (kind === 'require-call' ? undefined : id),
    },
    load: {
      filter: { id: /^\0http$/ },
      handler: () =>
        `const http = process.getBuiltinModule('node:http');\nexport default http;\nexport const { ${HTTP.join(', ')} } = http;`,
    },
  };
}

function seenFromBundle(source: string, place: string): string {
  const target = join(dirname(source), place); // keeps a slash at its end
  if (THREADS.includes(target)) return `./${basename(target, '.ts')}.js`;
  if (target.endsWith('.ts')) throw new Error(`${source} starts ${place}, which is no entry of the bundle`);
  const seen = relative('src', target);
  return `${seen.startsWith('.') ? '' : './'}${seen}${target.endsWith('/') ? '/' : ''}`;
}

async function describePackages(modules: readonly string[]): Promise<readonly Bundled[]> {
  const folders = new Set(
    modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id.replaceAll('\\', '/'))?.[0] ?? []),
  );
  const described = await Promise.all(Array.from(folders, describePackage));
  return described.toSorted((a, b) => a.name.localeCompare(b.name));
}

async function describePackage(folder: string): Promise<Bundled> {
  const { name, version, license }: Record<'name' | 'version' | 'license', string> = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  );
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|copying)\b/i.test(file));
  const texts = await Promise.all(files.toSorted().map((file) => readFile(join(folder, file), 'utf8')));
  return { name, version, license, texts };
}
