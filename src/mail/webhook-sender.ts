import { createHmac } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { type MailSender, messageIdOf, type OutgoingMail, SendError } from './sender.ts';

export interface WebhookSettings {
  /** `https://`, or `http://` within a network that is trusted. */
  readonly url: string;
  /** The keys that requests are signed with: one, or the new and the old one while it is being replaced. */
  readonly secrets: readonly Uint8Array[];
}

export interface WebhookOptions extends WebhookSettings, Pick<Clock, 'now'> {
  /** The sender: an address, or a name and an address in angle brackets. */
  readonly from: string;
  /** How long an answer may take, milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** Within what Standard Webhooks recommends (15 to 30 s), and shorter than the lease of an attempt. */
const TIMEOUT_MS = 30_000;

/**
 * What says that this mail cannot be taken (RFC 9110, 15.5). Others, such as 401 and 404, tell of a service that is not
 * set up as it should be, and would give up every mail until somebody sees it.
 */
const REFUSED = new Set([400, 413, 415, 422]);

/**
 * Sends by POST to a service of the operator's, signed as Standard Webhooks 1.0 has it (standardwebhooks.com). 2xx takes
 * the mail; one of REFUSED gives it up for good. Redirects are not followed, so that no mail goes to where the
 * operator did not say. Nothing of the answer's body is read: it may be endless, and a service that shows what it was
 * sent would have codes shown in the outbox.
 */
export function createWebhookSender({ url, secrets, from, now, timeoutMs = TIMEOUT_MS }: WebhookOptions): MailSender {
  return {
    async send(mail) {
      const body = JSON.stringify(payloadOf(mail, from));
      const timestamp = String(Math.floor(now() / 1000));
      const signed = `${mail.id}.${timestamp}.${body}`;
      let response: Response;
      try {
        response = await fetch(url, {
          method: 'POST',
          redirect: 'manual',
          signal: AbortSignal.timeout(timeoutMs),
          headers: {
            'content-type': 'application/json',
            'user-agent': 'kith',
            'webhook-id': mail.id,
            'webhook-timestamp': timestamp,
            'webhook-signature': secrets.map((secret) => `v1,${macOf(secret, signed)}`).join(' '),
          },
          body,
        });
      } catch (error) {
        throw new SendError(whyNoAnswer(error, timeoutMs), false, { cause: error });
      }
      await response.body?.cancel().catch(() => {}); // it has been cut off already
      if (!response.ok) throw refusalOf(response);
    },
    [Symbol.dispose]() {},
  };
}

/** What the service is sent: the mail as it would have been sent, and what its own templates may need in place of that. */
function payloadOf(mail: OutgoingMail, from: string): object {
  const { id, kind, recipient, locale, language, createMs, subject, text, html, facts } = mail;
  return {
    type: `mail.${kind}`,
    timestamp: new Date(createMs).toISOString(),
    data: {
      id,
      messageId: messageIdOf(id, from),
      kind,
      from,
      to: recipient,
      locale,
      language,
      subject,
      text,
      html,
      facts,
    },
  };
}

function macOf(secret: Uint8Array, text: string): string {
  return createHmac('sha256', secret).update(text).digest('base64');
}

function refusalOf({ status, headers }: Response): SendError {
  if (status >= 300 && status < 400) {
    return new SendError(`the webhook answered ${status}, and redirects are not followed`, false);
  }
  const isFinal = REFUSED.has(status);
  const seconds = /^\d{1,6}$/.exec(headers.get('retry-after') ?? '')?.[0];
  const retryAfterMs = seconds === undefined ? undefined : Number(seconds) * 1000;
  return new SendError(`the webhook answered ${status}`, isFinal, { retryAfterMs });
}

/** Without the URL, which may have a secret in it. */
function whyNoAnswer(error: unknown, timeoutMs: number): string {
  const { name, cause } = error as Error;
  if (name === 'TimeoutError') return `the webhook did not answer within ${timeoutMs / 1000} s`;
  const { code, message } = (cause ?? error) as { code?: string; message: string };
  return `the webhook cannot be called: ${code ?? message}`;
}
