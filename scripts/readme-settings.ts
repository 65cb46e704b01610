/**
 * Write the tables of settings, one for each section, into README.md, between its two markers, from the
 * one list of settings in src/config/config.ts. With --check, only say whether it is there.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { SECTION_TITLES, sectionedSettings } from '../src/config/config.ts';
import { fileSettingOf } from '../src/config/secret-files.ts';

const BEGIN = '<!-- settings -->';
const END = '<!-- /settings -->';

const rows = [...sectionedSettings()].map(({ name, section, setting: { help, allowed, fallback, fromFile } }) => {
  const names = fromFile ? `\`${name}\` or \`${fileSettingOf(name)}\`` : `\`${name}\``;
  return { section, row: `| ${names} | ${fallback ? `\`${fallback}\`` : ''} | ${help} | ${allowed} |` };
});
const tables = [...Map.groupBy(rows, ({ section }) => section)].map(([section, of]) =>
  [
    `### ${SECTION_TITLES[section]}`,
    '',
    '| setting | default | what it is | allowed |',
    '| --- | --- | --- | --- |',
    ...of.map(({ row }) => row),
  ].join('\n'),
);

const before = await readFile('README.md', 'utf8');
const after = before.replace(new RegExp(`${BEGIN}[^]*${END}`), () => `${BEGIN}\n\n${tables.join('\n\n')}\n\n${END}`);
if (process.argv.includes('--check')) {
  if (after !== before) console.error('the tables of settings in README.md are not those of src/config/config.ts');
  process.exitCode = after === before ? 0 : 1;
} else {
  await writeFile('README.md', after);
}
