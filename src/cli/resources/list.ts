import { type DescField, type DescMessage, type DescMethod, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { Kith } from '../../../packages/client/src/index.ts';
import { answerJson, callUnary } from '../client/call.ts';
import { ownContract } from '../client/contract.ts';
import type { Invocation } from '../command.ts';
import { tableOf } from './show.ts';

/** A method that answers a list. */
export interface ListShape {
  readonly method: DescMethod;
  readonly items: DescField;
  /** What tables show. */
  readonly columns: readonly string[];
}

type Answer = MessageShape<DescMessage> & Readonly<Record<string, unknown>>;

/**
 * Prints a page of a list, or with `--all` every page: a table for people, with `--json` one document and with `--jsonl` a
 * line for each item. What is printed is not kept, so that a list may be of any length.
 */
export async function printList(
  kith: Kith,
  shape: ListShape,
  request: MessageShape<DescMessage>,
  call: Invocation,
): Promise<void> {
  const { method, items, columns } = shape;
  const { options, terminal, signal } = call;
  const { registry } = ownContract();
  const schema = items.message!;
  const itemsOf = (page: Answer) => page[items.localName] as readonly MessageShape<DescMessage>[];
  const itemJson = (item: MessageShape<DescMessage>) => JSON.stringify(toJson(schema, item, { registry }));
  const isAll = options.has('all');
  const isJson = options.has('json') && !options.has('jsonl');
  let isFirst = true;
  let isEmpty = true;
  for (;;) {
    const page = (await callUnary(kith, method, request, signal)) as Answer;
    const found = itemsOf(page);
    if (options.has('jsonl')) await terminal.write(found.map((item) => `${itemJson(item)}\n`).join(''));
    else if (isJson && !isAll)
      await terminal.print(JSON.stringify(answerJson(method, page, { registry }), undefined, 2));
    else if (isJson) {
      if (isFirst) await terminal.write(`{${JSON.stringify(items.jsonName)}:[`);
      await terminal.write(
        found.map((item) => `${isEmpty ? ((isEmpty = false), '') : ','}\n${itemJson(item)}`).join(''),
      );
    } else if (found.length > 0) {
      const lines = tableOf(schema, found, columns, terminal);
      // Each page is fitted by itself; the titles stand above the first.
      for (const line of isFirst ? lines : lines.slice(1)) await terminal.print(line);
    } else if (isFirst) terminal.note('nothing found');
    if (isFirst && typeof page['totalSize'] === 'number' && !options.has('json')) noteTotal(page, terminal);
    isFirst = false;
    const next = page['nextPageToken'];
    if (typeof next !== 'string' || next === '') break;
    if (!isAll) {
      if (!isJson) terminal.note(`there is more: --all goes over all of it, --page-token ${next} goes on`);
      break;
    }
    Object.assign(request, { pageToken: next });
  }
  if (isJson && isAll) await terminal.print('\n]}');
}

function noteTotal(page: Answer, terminal: Invocation['terminal']): void {
  terminal.note(`${page['totalSizeAtLeast'] === true ? 'at least ' : ''}${String(page['totalSize'])} in all`);
}
