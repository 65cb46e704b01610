/**
 * Write the list of common passwords that src/identity/passwords/common-passwords.ts reads,
 * from the ranking in @zxcvbn-ts/language-common, which is made of leaked passwords.
 * With --check, only say whether it is there.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { dictionary } from '@zxcvbn-ts/language-common';
import manifest from '@zxcvbn-ts/language-common/package.json' with { type: 'json' };

const OUT = 'src/identity/passwords/common-passwords.txt';

/** The shortest password that may be set, code points: the list needs no shorter ones. */
const LENGTH_MIN = 8;

const licence = (await readFile(`node_modules/${manifest.name}/LICENSE.txt`, 'utf8')).trim();
const header = [
  `Common passwords of at least ${LENGTH_MIN} characters, in lower case, sorted, one a line after the last line with a "#".`,
  `Written by scripts/common-passwords.ts from ${manifest.name} ${manifest.version}, under this licence:`,
  '',
  ...licence.split('\n'),
].map((line) => `# ${line}`.trimEnd());
const passwords = dictionary['passwords-common']
  .map((password) => password.normalize('NFC').toLowerCase())
  .filter((password) => Array.from(password).length >= LENGTH_MIN);
const list = `${[...header, ...[...new Set(passwords)].toSorted()].join('\n')}\n`;

if (process.argv.includes('--check')) {
  const isCurrent = (await readFile(OUT, 'utf8').catch(() => '')) === list;
  if (!isCurrent) console.error(`${OUT} is not what @zxcvbn-ts/language-common has`);
  process.exitCode = isCurrent ? 0 : 1;
} else {
  await writeFile(OUT, list);
}
