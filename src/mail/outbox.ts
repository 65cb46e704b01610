import type { App } from '../app.ts';
import { type Caller, requireNotAbove } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import { newId } from '../kernel/id.ts';
import type { Db } from '../storage/database.ts';
import { cutPage, type Page, type PageRequest, pageSizeOf, pageTokens } from '../storage/pages.ts';
import {
  adoptMailsTo,
  deleteMails,
  deleteMailsTo,
  insertMail,
  type MailRow,
  type MailState,
  selectMail,
  selectMails,
  selectRecipientRole,
  updateUnsent,
} from './store.ts';
import type { OutgoingMail } from './sender.ts';
import { exampleValues, type MailKind, type MailValues } from './templates/kinds.ts';
import type { MailContent, MailRecipient, MailTemplates, RenderedMail } from './templates/templates.ts';

export interface MailApp extends App {
  readonly mailTemplates: MailTemplates;
}

/** How long a mail is kept, sent or not, milliseconds. */
const KEEP_MS = 30 * 24 * 60 * 60 * 1000;

/** A mail, as the contract shows it; times in milliseconds since 1970. */
export type Mail = Omit<MailRow, 'body_sealed'>;

/**
 * Writes a mail to a user, or to the address of who is none yet, in the transaction of its cause: it is sent once that is committed, and not at all if
 * it is not, nor after `expireMs`, when what it says is of no use any more.
 */
export async function writeMail<K extends MailKind>(
  tx: Db,
  app: MailApp,
  user: MailRecipient & { readonly id: string | null },
  kind: K,
  values: MailValues[K],
  expireMs?: number,
): Promise<void> {
  const { subject, ...rendered } = app.mailTemplates.render(kind, values, user);
  const body: MailBody = { ...rendered, locale: user.locale ?? '' };
  const id = newId();
  const nowMs = app.now();
  await insertMail(tx, {
    id,
    user_id: user.id,
    recipient: user.email,
    kind,
    subject,
    body_sealed: app.keyring.seal('mail', JSON.stringify(body), id),
    state: 'waiting',
    attempts: 0,
    next_ms: nowMs,
    last_error: '',
    create_ms: nowMs,
    expire_ms: expireMs ?? nowMs + KEEP_MS,
    send_ms: null,
  });
  app.database.afterCommit(tx, 'mails', []);
}

/** Makes a new user the one whom the mails to their address were to. `emailKey` as identifierKey. */
export const adoptMails = adoptMailsTo;

/** What is sealed of a mail. */
type MailBody = Pick<OutgoingMail, 'text' | 'html' | 'locale' | 'language' | 'facts'>;

/** The text of a mail; undefined once it has been sent, or if another secret key sealed it. */
export function bodyOf(app: App, { id, body_sealed }: MailRow): MailBody | undefined {
  const opened = body_sealed === null ? undefined : app.keyring.open('mail', body_sealed, id);
  if (opened === undefined) return undefined;
  // Of a mail from before there were webhooks, the texts alone are sealed.
  const before = { locale: '', language: '', facts: { service: '' } };
  return { ...before, ...(JSON.parse(opened) as Pick<MailBody, 'text' | 'html'>) };
}

export interface MailListRequest extends PageRequest {
  /** None for every state. */
  readonly states: readonly MailState[];
}

/** Lists the mails, newest first. Throws page_token_invalid. */
export async function listMails(app: App, caller: Caller, request: MailListRequest): Promise<Page<Mail>> {
  const tokens = pageTokens<[id: string]>(app.keyring, 'mails', caller.userId, request.states);
  const after = tokens.read(request.pageToken)?.[0];
  const size = pageSizeOf(request);
  const { rows, last } = cutPage(await selectMails(app.database.db, { states: request.states }, after, size + 1), size);
  return { items: [...rows], nextPageToken: tokens.write(last && [last.id]), total: undefined };
}

/** A mail and its text, which is empty once it has been sent. Throws mail_not_found, permission_missing. */
export async function getMail(
  app: App,
  caller: Caller,
  id: string,
): Promise<{ mail: Mail; body: Pick<MailContent, 'text' | 'html'> }> {
  const mail = await requireMail(app.database.db, caller, id);
  const { text = '', html = '' } = bodyOf(app, mail) ?? {};
  return { mail, body: { text, html } };
}

/** Has a mail sent again that was not sent. Throws mail_not_found, permission_missing, mail_sent, mail_expired. */
export async function resendMail(app: App, caller: Caller, id: string): Promise<Mail> {
  return app.database.transaction(async (tx) => {
    const mail = await requireMail(tx, caller, id);
    const nowMs = app.now();
    if (mail.expire_ms <= nowMs) {
      throw new Failure('mail_expired', 'the code in the mail has expired: cause another mail');
    }
    const again = { state: 'waiting', attempts: 0, next_ms: nowMs } as const;
    if (!(await updateUnsent(tx, id, again))) {
      throw new Failure('mail_sent', 'the mail has been sent, and its text is not kept: cause another one');
    }
    app.database.afterCommit(tx, 'mails', []);
    return { ...mail, ...again };
  });
}

/** A mail of a kind as a recipient would get it, with made-up values, and the languages that there are. */
export function previewMail(
  app: MailApp,
  kind: MailKind,
  recipient: Pick<MailRecipient, 'locale' | 'timeZone'>,
): Pick<RenderedMail, 'language' | 'subject' | 'text' | 'html'> & { languages: string[] } {
  const { facts: _, ...preview } = app.mailTemplates.render(kind, exampleValues(kind, app.now()), recipient);
  return { ...preview, languages: app.mailTemplates.languagesOf(kind) };
}

/** Up to `limit` mails to a user that are kept, newest first, after one of them. */
export function mailsTo(
  app: Pick<App, 'database'>,
  userId: string,
  after: string | undefined,
  limit: number,
): Promise<Mail[]> {
  return selectMails(app.database.db, { userId }, after, limit);
}

/** Removes up to `limit` mails to a user who is about to be removed; how many there were. */
export function removeMailsTo(app: Pick<App, 'database'>, userId: string, limit: number): Promise<number> {
  return deleteMailsTo(app.database.db, userId, limit);
}

/** Removes up to `limit` mails that have been kept long enough; how many there were. */
export function purgeMails(app: App, limit: number): Promise<number> {
  return deleteMails(app.database.db, app.now() - KEEP_MS, limit);
}

async function requireMail(db: Db, caller: Caller, id: string): Promise<MailRow> {
  const mail = await selectMail(db, id);
  const role = mail && (await selectRecipientRole(db, mail));
  if (mail === undefined || role === undefined) throw new Failure('mail_not_found', 'no mail has this id');
  requireNotAbove(caller, { id: mail.user_id ?? '', role });
  return mail;
}
