import { toJson } from '@bufbuild/protobuf';
import {
  ContactSchema,
  ContactTombstoneSchema,
  type SyncContactsResponse,
  SyncContactsResponseSchema,
} from '../../../packages/client/src/contract.ts';
import { connect, targetOf } from '../client/connect.ts';
import { readCursor, writeCursor } from '../client/cursor-file.ts';
import { type Command, type Invocation, UsageError } from '../command.ts';
import { tableOf } from '../resources/show.ts';

/** The most contacts that an answer has. */
const PAGE_SIZE = 1000;

/** The command of SyncContacts, which may go on until there is no more, and keep the cursor in a file. */
export function syncContactsBy(ofMethod: Command): Command {
  return {
    ...ofMethod,
    options: {
      ...ofMethod.options,
      'cursor-file': {
        value: 'FILE',
        help: 'Begin with the cursor in the file, if it is there, and keep the next one in it once its answer is printed.',
      },
      all: { help: 'Call again until there is no more.' },
      json: { help: 'Print each answer as JSON, as the contract has it.' },
      jsonl: {
        help: 'Print a line of JSON for each contact, {"contact": ...}, and for each that is gone, {"tombstone": ...}; {"labelsChanged": true} where labels changed.',
      },
    },
    examples: [
      'kith contacts sync --all --jsonl --cursor-file contacts.cursor >> changes.jsonl',
      'kith contacts sync --cursor CURSOR',
    ],
    async run(call) {
      const { options, terminal, signal } = call;
      if (options.has('explain')) return ofMethod.run(call);
      const [file, given] = [options.value('cursor-file'), options.value('cursor')];
      if (file !== undefined && given !== undefined) {
        throw new UsageError('--cursor and --cursor-file both say where to begin: give one of them');
      }
      const isAll = options.has('all');
      const pageSize = options.wholeNumber('page-size', 0) ?? (isAll ? PAGE_SIZE : 0);
      const kith = connect(await targetOf(call));
      let cursor = given ?? (file === undefined ? undefined : await readCursor(file)) ?? '';
      for (let hasMore = true; hasMore; ) {
        const answer = await kith.contacts.sync({ cursor, pageSize }, { signal });
        await print(answer, call);
        cursor = answer.nextCursor;
        if (file !== undefined) await writeCursor(file, cursor);
        ({ hasMore } = answer);
        if (!isAll) break;
      }
      if (options.has('json') && !isAll) return;
      if (file === undefined) terminal.note(`to go on, kith contacts sync --cursor ${cursor}`);
    },
  };
}

async function print(answer: SyncContactsResponse, { options, terminal }: Invocation): Promise<void> {
  const { contacts, tombstones, labelsChanged, hasMore } = answer;
  if (options.has('jsonl')) {
    for (const contact of contacts) await terminal.print(JSON.stringify({ contact: toJson(ContactSchema, contact) }));
    for (const tombstone of tombstones) {
      await terminal.print(JSON.stringify({ tombstone: toJson(ContactTombstoneSchema, tombstone) }));
    }
    if (labelsChanged) await terminal.print(JSON.stringify({ labelsChanged }));
    return;
  }
  if (options.has('json')) {
    await terminal.print(JSON.stringify(toJson(SyncContactsResponseSchema, answer), undefined, 2));
    return;
  }
  if (contacts.length > 0) {
    for (const line of tableOf(ContactSchema, contacts, SHOWN, terminal)) await terminal.print(line);
  }
  for (const { contactId, mergedIntoContactId } of tombstones) {
    await terminal.print(
      `${contactId}  ${mergedIntoContactId === '' ? 'deleted' : `merged into ${mergedIntoContactId}`}`,
    );
  }
  if (labelsChanged) terminal.note('labels changed: kith labels list has them');
  if (hasMore && !options.has('all')) terminal.note('there is more: --all goes on until there is none');
}

const SHOWN = ['id', 'given_name', 'family_name', 'company', 'emails', 'phones'];
