import { describe, expect, test } from 'vitest';
import {
  type Batch,
  type CaughtUp,
  checkBatches,
  checkWatch,
  type LogRow,
  type Message,
  type Position,
  type Wanted,
} from './history.ts';

const EVERYTHING: Wanted = { userId: undefined, action: '', withPrivate: true };
const BEGINNING: Position = { writer: 0, seq: 0 };

/** A row `id` at writer/seq; the rest as given. */
function row(id: string, writer: number, seq: number, rest: Partial<LogRow> = {}): LogRow {
  return { id, writer, seq, userId: 'u', action: 'page.viewed', isPrivate: false, origin: undefined, ...rest };
}

/** A log whose sequence numbers became visible out of order. */
const LOG = [row('a', 5, 1), row('c', 7, 2), row('b', 6, 3), row('d', 7, 4), row('e', 9, 5)];
const [A, C, B, D, E] = LOG as [LogRow, LogRow, LogRow, LogRow, LogRow];

function sent(...rows: LogRow[]): Message[] {
  return rows.map((at) => ({ id: at.id, at }));
}

function progress(writer: number, seq = 0): Message {
  return { id: undefined, at: { writer, seq } };
}

function kindsOf(messages: readonly Message[], start = BEGINNING, wanted = EVERYTHING): string[] {
  return checkWatch({ name: 'w', wanted, start, messages, caughtUps: [] }, LOG).map(({ kind }) => kind);
}

test('a watch from now on is sent what was not there when it began', () => {
  const watch = { name: 'w', wanted: EVERYTHING, start: A, before: { newest: D, running: [6] }, caughtUps: [] };
  expect(checkWatch({ ...watch, messages: sent(B, E) }, LOG)).toEqual([]);
  const kinds = (...rows: LogRow[]) => checkWatch({ ...watch, messages: sent(...rows) }, LOG).map(({ kind }) => kind);
  expect(kinds(B, C, E)).toEqual(['not asked for']);
  expect(kinds(E)).toEqual(['cursor ahead', 'lost']);
});

describe('a list and the watch that goes on from it', () => {
  const kindsFrom = (ids: string[], messages: Message[], known = 0, caughtUps: CaughtUp[] = []) =>
    checkWatch({ name: 'w', wanted: EVERYTHING, start: A, messages, caughtUps, listed: { ids, known } }, LOG, [
      'a',
      'b',
      'c',
    ]).map(({ kind }) => kind);

  test.each<[string, string[], Message[], number, string[]]>([
    ['every row once', ['b', 'a'], sent(C, D, E), 2, []],
    ['rows of late transactions', ['c', 'a'], sent(B, D, E), 1, []],
    ['a row of a page again', ['c', 'a'], sent(B, C, D, E), 0, ['not asked for']],
    ['a row in neither', ['b', 'a'], sent(D, E), 0, ['cursor ahead', 'lost']],
    ['a row that was acknowledged before, on no page', ['a'], sent(B, C, D, E), 2, ['lost']],
    ['a row on two pages', ['b', 'b', 'a'], sent(C, D, E), 0, ['repeated', 'out of order']],
    ['pages in another order', ['a', 'b'], sent(C, D, E), 0, ['out of order']],
    ['a row that nobody wrote', ['x', 'b', 'a'], sent(C, D, E), 0, ['not asked for']],
  ])('with %s', (_, ids, messages, known, kinds) => {
    expect(kindsFrom(ids, messages, known)).toEqual(kinds);
  });

  test.each([
    [{ known: 3, messages: 1 }, []],
    [{ known: 2, messages: 0 }, []],
    [{ known: 3, messages: 0 }, ['caught up early']],
  ])('having caught up %j', (caughtUp, kinds) => {
    expect(kindsFrom(['b', 'a'], sent(C, D, E), 0, [caughtUp])).toEqual(kinds);
  });
});

describe('the history of a watch', () => {
  test.each<[string, Message[]]>([
    ['every row in the order of the log', sent(A, B, C, D, E)],
    ['progress in between', [progress(0), ...sent(A), progress(5, 1), ...sent(B, C, D), progress(7, 9), ...sent(E)]],
    ['progress after the end', [...sent(A, B, C, D, E), progress(50)]],
  ])('is sound with %s', (_, messages) => {
    expect(kindsOf(messages)).toEqual([]);
  });

  test.each<[string, Message[], string[]]>([
    ['a row left out', sent(A, B, D, E), ['cursor ahead', 'lost']],
    ['the last row left out', sent(A, B, C, D), ['lost']],
    ['nothing at all', [], ['lost', 'lost', 'lost', 'lost', 'lost']],
    ['a row twice', sent(A, A, B, C, D, E), ['repeated']],
    ['a stretch sent again from an older cursor', sent(A, B, C, B, C, D, E), ['repeated', 'out of order', 'repeated']],
    ['two rows exchanged', sent(A, C, B, D, E), ['cursor ahead', 'out of order']],
    ['a row nobody wrote', [...sent(A, B), { id: 'x', at: B }, ...sent(C, D, E)], ['unknown']],
    ['a cursor of another row', [...sent(A), { id: 'b', at: C }, ...sent(C, D, E)], ['cursor wrong', 'cursor ahead']],
    [
      'progress past a row that comes later',
      [...sent(A), progress(6, 9), ...sent(B, C, D, E)],
      ['cursor ahead', 'out of order'],
    ],
    ['progress that goes back', [...sent(A, B), progress(5), ...sent(C, D, E)], ['out of order']],
  ])('is not with %s', (_, messages, kinds) => {
    expect(kindsOf(messages)).toEqual(kinds);
  });

  test('begins after its start, whatever that was', () => {
    expect(kindsOf(sent(C, D, E), B)).toEqual([]);
    expect(kindsOf(sent(B, C, D, E), B)).toEqual(['not asked for']);
    expect(kindsOf(sent(E), { writer: 7, seq: Number.MAX_SAFE_INTEGER })).toEqual([]);
  });

  test('of a stream that never began is one that says so', () => {
    const violations = checkWatch(
      { name: 'w', wanted: EVERYTHING, start: undefined, messages: [], caughtUps: [] },
      LOG,
    );
    expect(violations.map(({ kind }) => kind)).toEqual(['never began']);
  });

  describe('with a filter', () => {
    const log = [
      row('own', 1, 1, { userId: 'me', action: 'shop.cart.added' }),
      row('other', 1, 2, { userId: 'you', action: 'shop.cart.added' }),
      row('secret', 1, 3, { userId: 'me', action: 'shop.cart', isPrivate: true }),
      row('near', 1, 4, { userId: 'me', action: 'shop.cartoon' }),
    ];
    test.each<[string, Wanted, string[]]>([
      ['one user, by themselves', { userId: 'me', action: '', withPrivate: true }, ['own', 'secret', 'near']],
      ['one user, by another', { userId: 'me', action: '', withPrivate: false }, ['own', 'near']],
      [
        'an action and all below it',
        { userId: undefined, action: 'shop.cart', withPrivate: true },
        ['own', 'other', 'secret'],
      ],
      [
        'an action that is written in full',
        { userId: 'you', action: 'shop.cart.added', withPrivate: false },
        ['other'],
      ],
    ])('is %s', (_, wanted, ids) => {
      const messages = sent(...log.filter(({ id }) => ids.includes(id)));
      expect(checkWatch({ name: 'w', wanted, start: BEGINNING, messages, caughtUps: [] }, log)).toEqual([]);
      const all = checkWatch({ name: 'w', wanted, start: BEGINNING, messages: sent(...log), caughtUps: [] }, log);
      expect(all.map(({ kind }) => kind)).toEqual(Array(log.length - ids.length).fill('not asked for'));
    });
  });
});

describe('what was written', () => {
  const batch = (name: string, outcome: Batch['outcome'], size = 2, ids?: string[]): Batch => ({
    name,
    author: 'w',
    size,
    outcome,
    ids,
  });
  const rowOf = (id: string, writer: number, seq: number, name: string, index: number): LogRow =>
    row(id, writer, seq, { origin: { batch: name, index } });
  const one = [rowOf('1a', 5, 1, 'one', 0), rowOf('1b', 5, 2, 'one', 1)];
  const two = [rowOf('2a', 6, 3, 'two', 0), rowOf('2b', 6, 4, 'two', 1)];

  test.each<[string, Batch[], LogRow[]]>([
    [
      'each acknowledged batch once',
      [batch('one', 'acknowledged', 2, ['1a', '1b']), batch('two', 'acknowledged')],
      [...one, ...two],
    ],
    ['an indeterminate batch that happened', [batch('one', 'indeterminate')], one],
    ['an indeterminate batch that did not', [batch('one', 'indeterminate')], []],
    [
      'an indeterminate batch that happened late',
      [batch('two', 'indeterminate'), batch('one', 'acknowledged')],
      [...one, ...two],
    ],
    ['a batch that was rolled back', [batch('one', 'undone')], []],
    ["Kith's own rows", [], [row('k', 1, 1, { action: 'kith.user.created' })]],
  ])('may be %s', (_, batches, log) => {
    expect(checkBatches(batches, log)).toEqual([]);
  });

  test.each<[string, Batch[], LogRow[], string[]]>([
    ['an acknowledged batch that is missing', [batch('one', 'acknowledged')], [], ['unwritten']],
    ['an acknowledged batch under other ids', [batch('one', 'acknowledged', 2, ['1a', '1x'])], one, ['unwritten']],
    ['half a batch', [batch('one', 'indeterminate')], one.slice(1), ['torn']],
    ['a batch of two transactions', [batch('one', 'acknowledged')], [one[0]!, { ...one[1]!, writer: 8 }], ['torn']],
    ['a batch in another order', [batch('one', 'acknowledged')], [one[1]!, { ...one[0]!, seq: 9 }], ['out of order']],
    [
      'a batch that happened twice',
      [batch('one', 'indeterminate')],
      [...one, ...one.map((r) => ({ ...r, id: `${r.id}'`, writer: 9 }))],
      ['doubled'],
    ],
    ['a batch that was rolled back', [batch('one', 'undone')], one, ['undone but there']],
    ['rows of no batch', [], one, ['unknown']],
    [
      'a batch before one that was answered before it was sent',
      [batch('two', 'acknowledged'), batch('one', 'acknowledged')],
      [...one, ...two],
      ['overtaken'],
    ],
  ])('may not be %s', (_, batches, log, kinds) => {
    expect(checkBatches(batches, log).map(({ kind }) => kind)).toEqual(kinds);
  });
});
