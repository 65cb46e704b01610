/**
 * Check what running Kith installs: no install scripts, few packages, exact
 * versions, and a lockfile that works with any registry.
 */
import { readFile } from 'node:fs/promises';

/**
 * The last two have no dependencies: libphonenumber-js, since E.164 takes the numbering plan of every region, and
 * nodemailer, since nothing else here speaks SMTP.
 */
const PRODUCTION_PACKAGES_MAX = 86;
const EXACT_VERSION = /^\d+\.\d+\.\d+(-[\w.]+)?$/;
const DEPENDENCY_FIELDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'overrides'] as const;

type Manifest = Partial<Record<(typeof DEPENDENCY_FIELDS)[number], Record<string, string>>>;

/** One installed package. `os`, `cpu` and `libc` limit where; npm writes one value as a string. */
interface LockedPackage {
  dev?: boolean;
  link?: boolean;
  resolved?: string;
  hasInstallScript?: boolean;
  os?: string | string[];
  cpu?: string | string[];
  libc?: string | string[];
}

const manifest: Manifest = JSON.parse(await readFile('package.json', 'utf8'));
const lock: { packages: Record<string, LockedPackage> } = JSON.parse(await readFile('package-lock.json', 'utf8'));

// The other entries are the project itself, its workspaces and the links to them.
const packages = Object.entries(lock.packages).filter(([path, { link }]) => path.includes('node_modules/') && !link);
// `devOptional` counts as production: `npm ci --omit=dev` installs it for its optional half.
const production = packages.filter(([, locked]) => !locked.dev);
const [platform, count] = largestInstall(production.map(([, locked]) => locked));

const faults = [
  ...production.filter(([, locked]) => locked.hasInstallScript).map(([path]) => `${path} has an install script`),
  ...packages.filter(([, locked]) => locked.resolved).map(([path]) => `${path} records where it was downloaded from`),
  ...DEPENDENCY_FIELDS.flatMap((field) =>
    Object.entries(manifest[field] ?? {})
      .filter(([, version]) => !EXACT_VERSION.test(version))
      .map(([name, version]) => `${field} ${name} is not exact: ${version}`),
  ),
];
if (count > PRODUCTION_PACKAGES_MAX)
  faults.push(`${platform} installs ${count} production packages, more than ${PRODUCTION_PACKAGES_MAX}`);

for (const fault of faults) console.error(fault);
console.log(`${count} production packages at most (${platform})`);
process.exitCode = faults.length === 0 ? 0 : 1;

/**
 * The platform that installs most, of every combination of os, cpu and libc
 * that a package names, with its number of packages. Nested copies of a package
 * count each; a package limited to other platforms does not count.
 */
function largestInstall(locked: LockedPackage[]): [platform: string, count: number] {
  const values = (field: 'os' | 'cpu' | 'libc') => [...new Set(locked.flatMap((entry) => entry[field] ?? [])), 'other'];
  const allows = (limit: string | string[] | undefined, value: string) =>
    limit === undefined || [limit].flat().includes(value);

  const counts = values('os').flatMap((os) =>
    values('cpu').flatMap((cpu) =>
      values('libc').map((libc): [string, number] => [
        `${os} ${cpu} ${libc}`,
        locked.filter((entry) => allows(entry.os, os) && allows(entry.cpu, cpu) && allows(entry.libc, libc)).length,
      ]),
    ),
  );
  return counts.reduce((largest, next) => (next[1] > largest[1] ? next : largest));
}
