import type { App } from '../app.ts';
import type { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { payerOf } from '../budget/payer.ts';
import { type Caller, permissionMissing } from '../kernel/access.ts';
import type { ExportPart, PersonalData } from './personal-data.ts';

/** What an export uses. */
export interface ExportApp extends App {
  /** Reads the caller's present role and permissions. Throws session_ended. */
  readonly renew: (caller: Caller) => Promise<Caller>;
  /** Limits how many streams read the database at once. */
  readonly watchReads: ConcurrencyLimiter;
}

/** What is exported, and to whom. */
export interface Export {
  readonly userId: string;
  readonly caller: Caller;
  /** Throws when there is no such user any more. */
  readonly requireUser: () => Promise<unknown>;
}

/** How long a piece is at the most, UTF-16 code units. */
export const PIECE_MAX = 65_536;

/**
 * All that is kept of a user, as far as the caller may read it, as one JSON document in pieces of bounded length. Holds
 * one page at a time, and reads the next one when the pieces of the last have been taken. Before each page it reads the
 * caller and the user again, so that the document ends where the caller may not go on, or the user is erased.
 *
 * Throws session_ended, permission_missing, and what `requireUser` throws.
 */
export async function* exportData(
  app: ExportApp,
  kept: readonly PersonalData[],
  { userId, caller, requireUser }: Export,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for await (const text of documentOf(app, kept, { userId, caller, requireUser }, signal)) yield* piecesOf(text);
}

async function* documentOf(
  app: ExportApp,
  kept: readonly PersonalData[],
  { userId, caller, requireUser }: Export,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const isOwn = caller.kind === 'session' && caller.userId === userId;
  const all = kept.flatMap(({ parts = {} }) => Object.entries(parts));
  const mayRead = ({ permission }: ExportPart, reader: Caller) =>
    isOwn || (permission !== undefined && reader.permissions.has(permission));
  const parts = all.filter(([, part]) => mayRead(part, caller));
  const omitted = all.flatMap(([name, part]) =>
    mayRead(part, caller) ? (part.omits?.(caller, isOwn) ?? []).map((what) => `${name}.${what}`) : [name],
  );
  const read = (part: ExportPart, pageToken: string) =>
    app.watchReads.run(
      payerOf(caller, ''),
      async () => {
        const reader = await app.renew(caller);
        if (!mayRead(part, reader)) throw permissionMissing(part.permission ?? 'users.read');
        await requireUser();
        return part.read(app, reader, userId, pageToken);
      },
      signal,
    );

  const head = { exportTime: new Date(app.now()).toISOString(), userId, omitted };
  yield JSON.stringify(head).slice(0, -1);
  for (const [name, part] of parts) {
    yield `,\n${JSON.stringify(name)}:${part.isSingle ? '' : '['}`;
    let separator = '';
    let pageToken = '';
    do {
      const { items, nextPageToken } = await read(part, pageToken);
      if (items.length > 0) yield `${separator}${items.map((item) => JSON.stringify(item)).join(',\n')}`;
      separator = ',\n';
      pageToken = nextPageToken;
    } while (pageToken !== '' && !signal.aborted);
    if (!part.isSingle) yield ']';
  }
  yield '}\n';
}

/** A text in parts of at most PIECE_MAX, none of which ends within a code point. */
export function* piecesOf(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + PIECE_MAX, text.length);
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    yield text.slice(start, end);
    start = end;
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
