import { cut, oneLine } from '../kernel/text.ts';
import { bodyOf, type MailApp } from './outbox.ts';
import { type MailSender, SendError } from './sender.ts';
import { claim, type MailRow, selectDue, updateUnsent } from './store.ts';

/** How many mails are sent at once. */
const AT_ONCE = 4;

/** How many are read at once. */
const BATCH = 20;

/** How long an attempt may take before another process makes the next, milliseconds: longer than all steps of a conversation. */
const LEASE_MS = 5 * 60_000;

/** How often the outbox is read when nobody says that there is a mail, milliseconds. */
const POLL_MS = 5000;

/** How long sending is tried, milliseconds. */
const TRY_MAX_MS = 3 * 24 * 60 * 60 * 1000;

/** After the first attempt that failed, milliseconds; twice as long after each further one, up to the longest. */
const RETRY_MS = 10_000;
const RETRY_MAX_MS = 60 * 60 * 1000;

/** How much of what a mail server said is kept, UTF-16 code units. */
const ERROR_LENGTH = 500;

export interface MailWorkerOptions {
  readonly sender: MailSender;
  /** Called with what went wrong beside the mail server, such as the database. */
  readonly onError: (error: unknown) => void;
  /** Called for a mail that is not tried again. The outbox has what the mail server said, with the address in it perhaps. */
  readonly onFailed: (mail: { readonly id: string; readonly kind: string }) => void;
  readonly pollMs?: number | undefined;
}

/**
 * Sends the mails of the outbox until it is disposed. Several processes may do so: each mail is taken by one of them,
 * and by another if that one does not say within five minutes what came of it. So each is sent at least once.
 */
export function startMailWorker(app: MailApp, options: MailWorkerOptions): AsyncDisposable {
  const { onError, pollMs = POLL_MS } = options;
  let isStopped = false;
  let isAsked = false;
  let running: Promise<void> | undefined;
  const ask = (): void => {
    if (isStopped) return;
    isAsked = true;
    running ??= (async () => {
      while (isAsked && !isStopped) {
        isAsked = false;
        try {
          // A whole batch may mean that more is waiting.
          if ((await sendDue(app, options, () => isStopped)) === BATCH) isAsked = true;
        } catch (error) {
          onError(error);
        }
      }
      running = undefined;
    })();
  };
  const subscription = app.database.onCommit('mails', pollMs, ask);
  ask();
  return {
    async [Symbol.asyncDispose]() {
      isStopped = true;
      await subscription[Symbol.asyncDispose]();
      await running;
    },
  };
}

/** Sends what is due, a few at once, until it is stopped. Returns how many were due, at most BATCH. */
async function sendDue(app: MailApp, options: MailWorkerOptions, isStopped: () => boolean): Promise<number> {
  const due = await selectDue(app.database.db, app.now(), Math.max(LEASE_MS, RETRY_MAX_MS), BATCH);
  const waiting = due.values();
  const work = async (): Promise<void> => {
    for (const mail of waiting) {
      if (isStopped()) return;
      // What goes wrong with one mail keeps no other: its lease ends, and it is tried again.
      await attempt(app, mail, options).catch(options.onError);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return due.length;
}

async function attempt(app: MailApp, mail: MailRow, { sender, onFailed }: MailWorkerOptions): Promise<void> {
  const { db } = app.database;
  if (!(await claim(db, mail, app.now() + LEASE_MS))) return; // another process has it
  const { id, recipient, kind, subject, create_ms: createMs } = mail;
  const fail = async (error: SendError): Promise<void> => {
    if (await updateUnsent(db, id, { state: 'failed', last_error: said(error) })) onFailed({ id, kind });
  };
  if (mail.expire_ms <= app.now()) return fail(new SendError('it was not sent before it expired', true));
  const body = bodyOf(app, mail);
  if (body === undefined) return fail(new SendError('its text cannot be read: the secret key is another one', true));
  try {
    await sender.send({ id, kind, recipient, createMs, subject, ...body });
  } catch (error) {
    if (!(error instanceof SendError)) throw error;
    const nowMs = app.now();
    const nextMs = nowMs + Math.min(Math.max(RETRY_MS * 2 ** mail.attempts, error.retryAfterMs), RETRY_MAX_MS);
    if (error.isFinal || nextMs > createMs + TRY_MAX_MS) return fail(error);
    await updateUnsent(db, id, { next_ms: nextMs, last_error: said(error) });
    return;
  }
  await updateUnsent(db, id, { state: 'sent', send_ms: app.now(), body_sealed: null, last_error: '' });
}

/** What went wrong, as it is stored: mail servers say what they like, and no database stores all of it. */
function said({ message }: SendError): string {
  return cut(oneLine(message), ERROR_LENGTH);
}
