/** A place in the log; rows are in the order of (writer, seq). */
export interface Position {
  readonly writer: number;
  readonly seq: number;
}

/** A row of the log, as read from the table itself. */
export interface LogRow extends Position {
  readonly id: string;
  readonly userId: string;
  readonly action: string;
  readonly isPrivate: boolean;
  /** The batch that it was written with and its place there; undefined for what Kith records of its own. */
  readonly origin: { readonly batch: string; readonly index: number } | undefined;
}

/** What a watch asks for. */
export interface Wanted {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  /** The action or the words it begins with; '' for every action. */
  readonly action: string;
  readonly withPrivate: boolean;
}

/** What a watcher received, and the place that its cursor stands for. Without an id: word of how far it got. */
export interface Message {
  readonly id: string | undefined;
  readonly at: Position;
}

/** All that one watcher received, over all its streams. */
export interface WatchHistory {
  readonly name: string;
  readonly wanted: Wanted;
  /** Undefined when no stream ever began. */
  readonly start: Position | undefined;
  readonly messages: readonly Message[];
  /** What was there when a watch from now on began, beyond where the log was complete; absent for others. */
  readonly before?: View;
  /** What was listed before the watch began, which went on from there; absent where nothing was. */
  readonly listed?: Listed;
  /** Where it was told that it had caught up, once a stream. */
  readonly caughtUps: readonly CaughtUp[];
}

/** Rows up to the newest, without those of transactions that ran. */
export interface View {
  readonly newest: Position;
  readonly running: readonly number[];
}

/** All pages of a list. */
export interface Listed {
  /** In the order of the pages. */
  readonly ids: readonly string[];
  /** How many events were acknowledged when the list began. */
  readonly known: number;
}

export interface CaughtUp {
  /** How many events were acknowledged when the stream began. */
  readonly known: number;
  /** How many messages had been received. */
  readonly messages: number;
}

/** One append of 1 to 100 events, and what its author knows of it. */
export interface Batch {
  readonly name: string;
  readonly author: string;
  readonly size: number;
  /** `indeterminate`: no answer came, so it may have happened or not. `undone`: rolled back by its author. */
  readonly outcome: 'acknowledged' | 'indeterminate' | 'undone';
  /** Of an acknowledged batch, where the answer tells them. */
  readonly ids: readonly string[] | undefined;
}

/** What must not be. */
export interface Violation {
  readonly kind:
    | 'lost'
    | 'repeated'
    | 'out of order'
    | 'unknown'
    | 'not asked for'
    | 'cursor ahead'
    | 'cursor wrong'
    | 'caught up early'
    | 'never began'
    | 'unwritten'
    | 'torn'
    | 'doubled'
    | 'undone but there'
    | 'overtaken'
    | 'refused'
    | 'process';
  /** The watch, the batch or the process. */
  readonly where: string;
  readonly what: string;
}

/** Negative when `a` comes first. */
export function compare(a: Position, b: Position): number {
  return a.writer - b.writer || a.seq - b.seq;
}

/** Whether a watch asks for a row. */
export function isWanted({ userId, action, withPrivate }: Wanted, row: LogRow): boolean {
  return (
    (userId === undefined || userId === row.userId) &&
    (withPrivate || !row.isPrivate) &&
    (action === '' || row.action === action || row.action.startsWith(`${action}.`))
  );
}

/**
 * Compares what a watcher received with the table, once it has been given all the
 * time it needs: from its start exactly the rows it asked for, each once, in the
 * order of the log, and no cursor that says more than was sent. With a list before it,
 * the pages and the watch together hold every row once.
 *
 * `acknowledged` has the ids of events in the order in which their writers had an answer.
 */
export function checkWatch(
  { name, wanted, start, before, messages, listed, caughtUps }: WatchHistory,
  log: readonly LogRow[],
  acknowledged: readonly string[] = [],
): Violation[] {
  if (start === undefined) return [{ kind: 'never began', where: name, what: 'no stream ever began' }];
  const violations: Violation[] = [];
  const report = (kind: Violation['kind'], what: string): void => void violations.push({ kind, where: name, what });

  const rows = new Map(log.map((row) => [row.id, row]));
  const isWantedRow = (id: string): boolean => {
    const row = rows.get(id);
    return row !== undefined && isWanted(wanted, row);
  };
  const pages = new Set(listed?.ids);
  const wasBefore = (row: LogRow): boolean =>
    before !== undefined && compare(row, before.newest) <= 0 && !before.running.includes(row.writer);
  const isDue = (row: LogRow): boolean =>
    listed === undefined ? compare(row, start) > 0 && !wasBefore(row) : !pages.has(row.id);
  const expected = log.filter((row) => isDue(row) && isWanted(wanted, row)).toSorted(compare);
  const expectedIds = new Set(expected.map(({ id }) => id));
  const received = new Set<string>();
  if (listed !== undefined) {
    for (const id of pages) if (!isWantedRow(id)) report('not asked for', `${id} on a page`);
    if (pages.size < listed.ids.length) report('repeated', `${listed.ids.length - pages.size} on pages`);
    const order = listed.ids.map((id) => rows.get(id)).filter((row) => row !== undefined);
    if (order.some((row, i) => i > 0 && compare(order[i - 1]!, row) <= 0)) report('out of order', 'the pages');
    for (const id of acknowledged.slice(0, listed.known)) {
      if (isWantedRow(id) && !pages.has(id))
        report('lost', `${id} was acknowledged before the list, and is on no page`);
    }
  }
  let due = 0; // everything before it in `expected` was received
  let last = start;
  let overdue: LogRow | undefined;
  messages.forEach(({ id, at }, i) => {
    const what = `message ${i}, ${id ?? 'progress'} at ${show(at)}`;
    if (id !== undefined) {
      const row = rows.get(id);
      if (received.has(id)) report('repeated', what);
      else if (row === undefined) report('unknown', `${what}, is not in the table`);
      else if (!expectedIds.has(id)) report('not asked for', `${what}, of ${row.action} of ${row.userId}`);
      if (row !== undefined && compare(row, at) !== 0) report('cursor wrong', `${what}, of a row at ${show(row)}`);
      received.add(id);
    }
    if (compare(at, last) < 0) report('out of order', `${what}, after ${show(last)}`);
    last = at;
    // Going on from this cursor must not leave anything out. Each row that would be is told of once.
    while (due < expected.length && received.has(expected[due]!.id)) due += 1;
    const missing = expected[due];
    if (missing !== undefined && missing !== overdue && compare(missing, at) <= 0) {
      report('cursor ahead', `${what}, before ${missing.id} at ${show(missing)} was sent`);
      overdue = missing;
    }
  });
  const indexOf = new Map(messages.map(({ id }, i) => [id, i]));
  for (const { known, messages: count } of caughtUps) {
    const late = acknowledged.slice(0, known).find((id) => expectedIds.has(id) && (indexOf.get(id) ?? count) >= count);
    if (late !== undefined) report('caught up early', `after ${count} messages, before ${late}`);
  }
  for (const row of expected) {
    if (!received.has(row.id)) report('lost', `${row.id} at ${show(row)}, ${row.action} of ${row.userId}`);
  }
  return violations;
}

/**
 * Compares what the writers know with the table. `batches` holds those of each
 * author in the order in which they were sent, one after the other.
 */
export function checkBatches(batches: readonly Batch[], log: readonly LogRow[]): Violation[] {
  const violations: Violation[] = [];
  const report = (kind: Violation['kind'], where: string, what: string): void =>
    void violations.push({ kind, where, what });

  const rowsOf = Map.groupBy(log.toSorted(compare), (row) => row.origin?.batch);
  rowsOf.delete(undefined);
  const lastOf = new Map<string, { name: string; row: LogRow }>();
  for (const { name, author, size, outcome, ids } of batches) {
    const rows = rowsOf.get(name) ?? [];
    rowsOf.delete(name);
    if (rows.length === 0) {
      if (outcome === 'acknowledged') report('unwritten', name, `was acknowledged, and is not in the table`);
      continue;
    }
    if (outcome === 'undone') report('undone but there', name, `was rolled back, and ${rows.length} rows are there`);
    const counts = new Map<number, number>();
    for (const { origin } of rows) counts.set(origin!.index, (counts.get(origin!.index) ?? 0) + 1);
    const twice = [...counts].filter(([, count]) => count > 1).map(([index]) => index);
    if (twice.length > 0) report('doubled', name, `events ${twice.join(', ')} are there more than once`);
    if (counts.size < size) report('torn', name, `${counts.size} of ${size} events are there`);
    if (new Set(rows.map(({ writer }) => writer)).size > 1 && twice.length === 0) {
      report('torn', name, 'its rows are of several transactions');
    }
    if (twice.length === 0 && rows.some(({ origin }, i) => i > 0 && rows[i - 1]!.origin!.index >= origin!.index)) {
      report('out of order', name, 'its rows are not in the order of the request');
    }
    if (ids !== undefined && (ids.length !== rows.length || ids.some((id, i) => id !== rows[i]!.id))) {
      report('unwritten', name, 'its rows are not those of the answer');
    }
    if (outcome !== 'acknowledged') continue;
    const before = lastOf.get(author);
    if (before !== undefined && compare(rows[0]!, before.row) <= 0) {
      report(
        'overtaken',
        name,
        `at ${show(rows[0]!)}, was sent after ${before.name} at ${show(before.row)} was answered`,
      );
    }
    lastOf.set(author, { name, row: rows.at(-1)! });
  }
  for (const [name, rows] of rowsOf) report('unknown', name ?? '', `${rows.length} rows that nobody wrote`);
  return violations;
}

function show({ writer, seq }: Position): string {
  return `${writer}/${seq}`;
}
