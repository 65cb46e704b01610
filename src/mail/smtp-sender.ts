import { createTransport } from 'nodemailer';
import { endpointOf } from './endpoint.ts';
import { type MailSender, messageIdOf, SendError } from './sender.ts';

export interface SmtpSettings {
  /** `smtp://` or `smtps://`, with user and password if the server wants them. */
  readonly url: string;
  /** The sender: an address, or a name and an address in angle brackets. */
  readonly from: string;
}

/** How long each step of a conversation with a mail server may take, milliseconds. */
const STEP_MS = 30_000;

/**
 * Sends over SMTP (RFC 5321), over TLS from the first byte with `smtps://`; with `smtp://` over TLS if the server
 * offers it (RFC 3207), and where there is a password, only so.
 */
export function createSmtpSender({ url, from }: SmtpSettings): MailSender {
  const { username, password } = new URL(url);
  const { host, port, isTls, isLoopback } = endpointOf(url);
  const transport = createTransport({
    host,
    port,
    secure: isTls,
    // A sign-in over a connection that others can read is refused.
    requireTLS: !isTls && username !== '' && !isLoopback,
    ...(username !== '' && { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
    connectionTimeout: STEP_MS,
    greetingTimeout: STEP_MS,
    socketTimeout: STEP_MS,
    dnsTimeout: STEP_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    async send({ id, recipient, createMs, subject, text, html }) {
      try {
        await transport.sendMail({
          from,
          // Not parsed: an address with blanks or quotes in it is still one address.
          to: { name: '', address: recipient },
          messageId: messageIdOf(id, from),
          date: new Date(createMs),
          subject,
          text,
          html,
          // Nobody's holiday notice or read receipt is an answer to these (RFC 3834).
          headers: { 'auto-submitted': 'auto-generated', 'x-auto-response-suppress': 'All' },
        });
      } catch (error) {
        throw toSendError(error, decodeURIComponent(password));
      }
    },
    [Symbol.dispose]: () => transport.close(),
  };
}

/** What mail servers refuse for good (RFC 5321, 4.2.1): the address or the message, not the sign-in, which can be set right. */
const FINAL = new Set(['EENVELOPE', 'EMESSAGE']);

function toSendError(error: unknown, password: string): SendError {
  const { message, code, responseCode } = error as { message?: string; code?: string; responseCode?: number };
  const isFinal = FINAL.has(code ?? '') && responseCode !== undefined && responseCode >= 500;
  const said = message ?? 'the mail server did not take the mail';
  return new SendError(password === '' ? said : said.replaceAll(password, '...'), isFinal, { cause: error });
}
