import { toJson } from '@bufbuild/protobuf';
import {
  GetSettingsResponseSchema,
  type Setting,
  SettingSource,
  SettingSourceSchema,
} from '../../../packages/client/src/contract.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from '../client/connect.ts';
import { findMethod, ownContract } from '../client/contract.ts';
import { curlOf } from '../client/explain.ts';
import type { Command } from '../command.ts';
import { formatTable } from '../terminal/table.ts';
import { enumWord } from './fields.ts';

const COLUMNS = [{ title: 'NAME', whole: true }, { title: 'VALUE' }, { title: 'SOURCE' }, { title: 'DEFAULT' }];

export const settings: Command = {
  summary: 'Tell all settings of a running server, with where each comes from',
  details:
    'Of a secret it tells whether it is set, and nothing else. kith --help says what each setting is for.\nCalls kith.admin.v1.AdminService/GetSettings.',
  options: {
    changed: { help: 'Only those that are changed from the default.' },
    json: { help: 'Print the answer as JSON, as the contract has it.' },
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
  },
  examples: [
    'kith settings --changed',
    `kith settings --json | jq '.settings[] | select(.source != "SETTING_SOURCE_DEFAULT")'`,
  ],
  async run(call) {
    const { options, terminal, signal } = call;
    const target = await targetOf(call);
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.admin.v1.AdminService/GetSettings');
      return terminal.print(curlOf(target.url, method, {}));
    }
    const answer = await connect(target).admin.getSettings({}, { signal });
    const shown = answer.settings.filter((setting) => !options.has('changed') || isChanged(setting));
    if (options.has('json')) {
      const json = toJson(GetSettingsResponseSchema, { ...answer, settings: shown });
      return terminal.print(JSON.stringify(json, undefined, 2));
    }
    if (shown.length === 0) return terminal.note('nothing found');
    const [head = '', ...lines] = formatTable(COLUMNS, shown.map(cellsOf), terminal.width);
    for (const line of [terminal.styled('bold', head), ...lines]) await terminal.print(line);
  },
};

/** What a secret is nobody can tell: it is changed by being set. */
function isChanged({ source, isSecret, value, defaultValue }: Setting): boolean {
  return source !== SettingSource.DEFAULT && (isSecret || value !== defaultValue);
}

function cellsOf(setting: Setting): string[] {
  const { name, isSecret, source, value, filePath, defaultValue } = setting;
  const isSet = source !== SettingSource.DEFAULT;
  const sourceName = SettingSourceSchema.value[source]?.name;
  const from = sourceName === undefined ? String(source) : enumWord(SettingSourceSchema, sourceName);
  return [
    name,
    isSecret ? (isSet ? '(set)' : '(not set)') : value,
    filePath === '' ? from : `${from} ${filePath}`,
    isChanged(setting) ? defaultValue : '',
  ];
}
