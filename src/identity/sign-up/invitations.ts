import { recordActivity } from '../../activity/log/log.ts';
import type { App } from '../../app.ts';
import { type Caller, requireNotAbove, type Role } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import { identifierKey } from '../../kernel/text.ts';
import { type MailApp, writeMail } from '../../mail/outbox.ts';
import type { Db } from '../../storage/database.ts';
import { UniqueViolation } from '../../storage/dialect.ts';
import { cutPage, type Page, type PageRequest, pageSizeOf, pageTokens } from '../../storage/pages.ts';
import { findAccount } from '../users/accounts.ts';
import { requireMaySignUp, type SignUpPolicyApp } from './policy.ts';
import {
  deleteInvitation,
  deleteOldInvitations,
  extendInvitation,
  insertInvitation,
  type InvitationRow,
  selectInvitation,
  selectInvitationOf,
  selectInvitations,
} from './store.ts';

export interface InvitationsApp extends MailApp, SignUpPolicyApp {}

/** How long an invitation is good, and how long it is kept after that, milliseconds. */
const DAY_MS = 24 * 60 * 60 * 1000;
const INVITATION_MS = 7 * DAY_MS;
const KEEP_MS = 30 * DAY_MS;

/** An invitation as the contract shows it; times in milliseconds since 1970. */
export type Invitation = Omit<InvitationRow, 'email_key'>;

/**
 * Invites an address, and writes the mail that tells it.
 *
 * Throws sign_up_closed, sign_up_domain_not_allowed, email_taken, invitation_exists.
 */
export async function createInvitation(
  app: InvitationsApp,
  caller: Caller,
  { email, role }: { readonly email: string; readonly role: Role },
): Promise<Invitation> {
  requireMaySignUp(app, email);
  const email_key = identifierKey(email);
  try {
    return await app.database.transaction(async (tx) => {
      if ((await findAccount(tx, email)) !== undefined) {
        throw new Failure('email_taken', 'a user has this email address', { field: 'email' });
      }
      const nowMs = app.now();
      const present = await selectInvitationOf(tx, email_key);
      if (present !== undefined && present.expire_ms > nowMs) throw invitationExists();
      if (present !== undefined) await deleteInvitation(tx, present.id);
      const times = { create_ms: nowMs, expire_ms: nowMs + INVITATION_MS };
      const row = { id: newId(), email, email_key, role, ...times };
      await insertInvitation(tx, row);
      await tell(tx, app, caller, row, 'kith.invitation.created');
      return row;
    }, email_key);
  } catch (error) {
    throw error instanceof UniqueViolation ? invitationExists() : error;
  }
}

/** Lists the invitations, newest first. Throws page_token_invalid. */
export async function listInvitations(app: App, caller: Caller, request: PageRequest): Promise<Page<Invitation>> {
  const tokens = pageTokens<[id: string]>(app.keyring, 'invitations', caller.userId);
  const after = tokens.read(request.pageToken)?.[0];
  const size = pageSizeOf(request);
  const { rows, last } = cutPage(await selectInvitations(app.database.db, after, size + 1), size);
  return { items: [...rows], nextPageToken: tokens.write(last && [last.id]), total: undefined };
}

/**
 * Has an invitation last for as long as a new one, and writes its mail again.
 *
 * Throws invitation_not_found, permission_missing, sign_up_closed, sign_up_domain_not_allowed.
 */
export async function resendInvitation(app: InvitationsApp, caller: Caller, id: string): Promise<Invitation> {
  return app.database.transaction(async (tx) => {
    const row = await requireInvitation(tx, caller, id);
    requireMaySignUp(app, row.email);
    const expire_ms = app.now() + INVITATION_MS;
    if (!(await extendInvitation(tx, id, expire_ms))) throw invitationNotFound();
    const next = { ...row, expire_ms };
    await tell(tx, app, caller, next, 'kith.invitation.resent');
    return next;
  });
}

/** Takes an invitation back. Throws invitation_not_found, permission_missing. */
export async function revokeInvitation(app: App, caller: Caller, id: string): Promise<void> {
  await app.database.transaction(async (tx) => {
    await requireInvitation(tx, caller, id);
    if (!(await deleteInvitation(tx, id))) throw invitationNotFound();
    const attributes = { invitation_id: id };
    await recordActivity(tx, app, { userId: null, by: caller, action: 'kith.invitation.revoked', attributes });
  });
}

/** Removes up to `limit` invitations that expired some time ago; how many there were. */
export function purgeInvitations(app: App, limit: number): Promise<number> {
  return deleteOldInvitations(app.database.db, app.now() - KEEP_MS, limit);
}

/** Writes the mail of an invitation, and records what was done: by ids, since others read it. */
async function tell(
  tx: Db,
  app: InvitationsApp,
  by: Caller,
  { id, email, expire_ms }: InvitationRow,
  action: 'kith.invitation.created' | 'kith.invitation.resent',
): Promise<void> {
  await writeMail(tx, app, { id: null, email }, 'invitation', { timeMs: expire_ms }, expire_ms);
  await recordActivity(tx, app, { userId: null, by, action, attributes: { invitation_id: id } });
}

/** Whoever may not make a user of a role may not change who becomes one. */
async function requireInvitation(db: Db, caller: Caller, id: string): Promise<InvitationRow> {
  const row = await selectInvitation(db, id);
  if (row === undefined) throw invitationNotFound();
  requireNotAbove(caller, { id: '', role: row.role });
  return row;
}

function invitationNotFound(): Failure {
  return new Failure('invitation_not_found', 'no invitation has this id, or not any more');
}

function invitationExists(): Failure {
  return new Failure('invitation_exists', 'the address is invited: resend the invitation, or revoke it', {
    field: 'email',
  });
}
