import { CLOCKS_DIFFER_MS } from '../kernel/clock.ts';
import type { Db } from '../storage/database.ts';
import { type MailApp, writeMail } from './outbox.ts';
import { selectMailIds } from './store.ts';
import type { MailKind, MailValues } from './templates/kinds.ts';
import type { MailRecipient } from './templates/templates.ts';

/** The mails that tell a user of a change of their account. */
export type NoticeKind = Extract<
  MailKind,
  | 'password_changed'
  | 'email_changed'
  | 'new_sign_in'
  | 'second_factor_enabled'
  | 'second_factor_disabled'
  | 'second_factor_reset'
  | 'recovery_codes_replaced'
  | 'api_key_created'
>;

const HOUR_MS = 60 * 60 * 1000;

/** Of each kind by itself: nobody hides a change by causing many notices of another. */
export const NOTICES_PER_HOUR = 5;

/**
 * Tells a user of a change of their account by mail, in the transaction of the change. Of each kind, a user is told
 * NOTICES_PER_HOUR times in an hour: whoever has the account cannot fill the mailbox.
 * An address at localhost, such as the first administrator has, is no mailbox (RFC 6761, 6.3): it is told nothing.
 */
export async function writeNotice<K extends NoticeKind>(
  tx: Db,
  app: MailApp,
  user: MailRecipient & { readonly id: string },
  kind: K,
  values: MailValues[K],
): Promise<void> {
  if (user.email.toLowerCase().endsWith('@localhost')) return;
  const nowMs = app.now();
  const written = await selectMailIds(tx, {
    userId: user.id,
    kind,
    afterMs: nowMs - HOUR_MS,
    // A later one was written before the clock was set back.
    untilMs: nowMs + CLOCKS_DIFFER_MS,
    limit: NOTICES_PER_HOUR,
  });
  if (written.length < NOTICES_PER_HOUR) await writeMail(tx, app, user, kind, values);
}
