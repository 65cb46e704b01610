import { toJson } from '@bufbuild/protobuf';
import { UserActivitySchema, type UserActivity } from '../../../packages/client/src/contract.ts';
import { systemClock } from '../../kernel/clock.ts';
import { type Command, UsageError } from '../command.ts';
import { explainFindingUser, findUserId, USER_HELP } from '../resources/users.ts';
import { lineOf } from '../resources/show.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from './connect.ts';
import { readCursor, writeCursor } from './cursor-file.ts';
import { findMethod, ownContract } from './contract.ts';
import { curlOf } from './explain.ts';
import { WITHOUT_CONTACTS } from './without-contacts.ts';

/** How often the cursor is written to a file at the most, milliseconds: what is printed after that is printed again. */
const SAVE_MS = 1000;

export const watch: Command = {
  summary: 'Watch activity as it happens, from now on or from a cursor',
  details:
    'Goes on by itself after a break, with each activity once: over restarts of the server, another access token, a lost network. When it ends, by Ctrl-C too, it writes on standard error the cursor to go on from. With --cursor-file it keeps it in a file, and begins where that says; after a crash, what came within the last second comes again. Where activities after the cursor are not kept any more it says so and goes on with those to come.',
  options: {
    user: { value: 'USER', help: `Whose activity: ${USER_HELP}. Default: everybody's.` },
    from: { value: 'CURSOR', help: 'Begin after this cursor. Default: with what happens from now on.' },
    'cursor-file': { value: 'FILE', help: 'Begin after the cursor in the file, and keep it up to date.' },
    'action-prefix': {
      value: 'ACTION',
      help: 'Only this action and those that begin with it and a dot, such as kith.session.',
      multiple: true,
    },
    limit: { value: 'N', help: 'End after so many activities.' },
    jsonl: { help: 'Print a line of JSON for each: {"cursor": ..., "activity": {...}}.' },
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
  },
  examples: [
    'kith watch',
    'kith watch --user ada --action-prefix kith.session',
    'kith watch --jsonl --cursor-file shop.cursor | while read -r line; do echo "$line"; done',
  ],
  async run(call) {
    const { options, terminal, signal } = call;
    const target = await targetOf(call);
    const [user, file] = [options.value('user'), options.value('cursor-file')];
    if (file !== undefined && options.value('from') !== undefined) {
      throw new UsageError('--from and --cursor-file both say where to begin: give one of them');
    }
    const from = file === undefined ? options.value('from') : await readCursor(file);
    const actionPrefixes = options.all('action-prefix');
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.activity.v1.ActivityService/WatchUserActivity');
      if (user !== undefined && explainFindingUser(target.url, user) !== undefined) {
        throw new UsageError('--explain takes the id of the user here, since the message has its length before it');
      }
      const request = {
        ...(user && { userId: user }),
        ...(from && { afterCursor: from }),
        ...(actionPrefixes.length > 0 && { actionPrefixes: [...actionPrefixes] }),
      };
      return terminal.print(curlOf(target.url, method, request));
    }
    const kith = connect(target);
    const userId = user === undefined ? undefined : await findUserId(kith, user);
    const limit = options.wholeNumber('limit', 1) ?? Infinity;
    const cursors = keepCursor(file);
    if (user === undefined && mayConcernContacts(actionPrefixes)) terminal.note(`kith: ${WITHOUT_CONTACTS}`);
    const events = kith.activity.watch({ userId, from, actionPrefixes, signal });
    let count = 0;
    let wasLive = false;
    let printed = from ?? '';
    try {
      for await (const event of events) {
        if (event.kind === 'activity') {
          await terminal.print(
            options.has('jsonl') ? jsonLine(event) : lineOf(UserActivitySchema, event.activity, SHOWN),
          );
          count += 1;
        }
        if (event.kind === 'gap') {
          terminal.note(
            'kith: activities after the cursor are not kept any more; kith activity list shows those that are',
          );
        }
        if (event.kind === 'state') {
          if (event.state === 'connecting' && wasLive) terminal.note('kith: the connection is lost; connecting again');
          if (event.state === 'live' && !wasLive && terminal.showsProgress)
            terminal.note(`kith: watching ${target.url}`);
          wasLive = event.state === 'live' || (wasLive && event.state !== 'connecting');
        }
        // Behind the printing, so that nothing is left out that did not come out.
        printed = event.cursor;
        await cursors.note(printed);
        if (count >= limit) break;
      }
    } finally {
      await cursors.save(printed);
      if (printed !== '') terminal.note(`kith: to go on, watch --from ${printed}`);
    }
  },
};

/** Whether activities with these prefixes may be about contacts or labels; none for every activity. */
function mayConcernContacts(prefixes: readonly string[]): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => /^kith(\.contact|\.label|$)/.test(prefix));
}

/** What a line shows of an activity. */
const SHOWN = ['event_time', 'action', 'user_id', 'actor_id', 'attributes', 'details'];

function jsonLine({ activity, cursor }: { activity: UserActivity; cursor: string }): string {
  return JSON.stringify({ cursor, activity: toJson(UserActivitySchema, activity) });
}

/** Writes the cursor to the file, as a whole: at once when asked to, else now and then. */
function keepCursor(file: string | undefined) {
  let savedMs = -Infinity;
  let saved = '';
  const save = async (cursor: string): Promise<void> => {
    if (file === undefined || cursor === '' || cursor === saved) return;
    await writeCursor(file, cursor);
    saved = cursor;
    savedMs = systemClock.monotonic();
  };
  return {
    save,
    async note(cursor: string): Promise<void> {
      if (systemClock.monotonic() - savedMs >= SAVE_MS) await save(cursor);
    },
  };
}
