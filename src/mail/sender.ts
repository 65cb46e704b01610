import type { RenderedMail } from './templates/templates.ts';

/** A mail as it goes out. */
export interface OutgoingMail extends RenderedMail {
  readonly id: string;
  /** What it is about: a MailKind, or one of another version. */
  readonly kind: string;
  readonly recipient: string;
  /** Of the recipient when it was written, '' for none. */
  readonly locale: string;
  readonly createMs: number;
}

/** What takes mails: a mail server, or a service of the operator's. */
export interface MailSender extends Disposable {
  /** Resolves once the mail has been taken. Rejects with SendError. */
  send(mail: OutgoingMail): Promise<void>;
}

export interface SendErrorOptions extends ErrorOptions {
  /** How long to wait before the next attempt at least, milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/** Why a mail was not taken. The message has no credential in it. */
export class SendError extends Error {
  override readonly name = 'SendError';
  /** Whether this mail was refused for good, so that it is not sent again. */
  readonly isFinal: boolean;
  readonly retryAfterMs: number;

  constructor(message: string, isFinal: boolean, options?: SendErrorOptions) {
    super(message, options);
    this.isFinal = isFinal;
    this.retryAfterMs = options?.retryAfterMs ?? 0;
  }
}

/** The Message-ID of a mail (RFC 5322, 3.6.4): the same however often it is sent, so that mailboxes show it once. */
export function messageIdOf(id: string, from: string): string {
  const domain = /@([^\s>@]+)>?$/.exec(from)?.[1] ?? 'localhost';
  return `<${id}@${domain}>`;
}
