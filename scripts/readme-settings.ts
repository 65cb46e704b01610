/**
 * Write the table of settings into README.md, between its two markers, from the
 * one list of settings in src/config/config.ts. With --check, only say whether it is there.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { SETTINGS } from '../src/config/config.ts';
import { fileSettingOf } from '../src/config/secret-files.ts';

const BEGIN = '<!-- settings -->';
const END = '<!-- /settings -->';

const rows = Object.entries(SETTINGS).map(([name, setting]) => {
  const fallback = 'fallback' in setting && setting.fallback ? `\`${setting.fallback}\`` : '';
  const names = 'fromFile' in setting ? `\`${name}\` or \`${fileSettingOf(name)}\`` : `\`${name}\``;
  return `| ${names} | ${fallback} | ${setting.help} | ${setting.allowed} |`;
});
const table = ['| setting | default | what it is | allowed |', '| --- | --- | --- | --- |', ...rows].join('\n');

const before = await readFile('README.md', 'utf8');
const after = before.replace(new RegExp(`${BEGIN}[^]*${END}`), () => `${BEGIN}\n${table}\n${END}`);
if (process.argv.includes('--check')) {
  if (after !== before) console.error('the table of settings in README.md is not the one of src/config/config.ts');
  process.exitCode = after === before ? 0 : 1;
} else {
  await writeFile('README.md', after);
}
