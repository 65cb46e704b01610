import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import PostalMime, { type Email } from 'postal-mime';
import { SMTPServer } from 'smtp-server';

/** A mail server that keeps what it takes. */
export interface TestMailServer extends AsyncDisposable {
  /** For KITH_SMTP_URL. */
  readonly url: string;
  /** In the order in which they came. */
  readonly mails: readonly ReceivedMail[];
  /** What it answers to each recipient from now on, such as `451 4.7.1 later`; undefined: it takes the mail. */
  refusal: string | undefined;
}

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  readonly raw: string;
  readonly parsed: Email;
}

/** Starts a mail server without TLS; with `login`, for those who sign in as that. */
export async function startMailServer(login?: { user: string; password: string }): Promise<TestMailServer> {
  const mails: ReceivedMail[] = [];
  let refusal: string | undefined;
  const server = new SMTPServer({
    disabledCommands: login === undefined ? ['AUTH', 'STARTTLS'] : ['STARTTLS'],
    allowInsecureAuth: true,
    authOptional: login === undefined,
    onAuth({ username, password }, _session, callback) {
      if (username === login?.user && password === login?.password) callback(null, { user: username });
      else callback(new Error('535 5.7.8 wrong user or password'));
    },
    onRcptTo(_address, _session, callback) {
      if (refusal === undefined) return callback();
      const [, code = '451', said = ''] = /^(\d+) (.*)$/.exec(refusal) ?? [];
      callback(Object.assign(new Error(said), { responseCode: Number(code) }));
    },
    async onData(stream, { envelope }, callback) {
      const raw = await text(stream).catch(() => undefined);
      if (raw === undefined) return; // the connection ended within the mail
      const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address;
      const to = envelope.rcptTo.map(({ address }) => address);
      mails.push({ from, to, raw, parsed: await PostalMime.parse(raw) });
      callback();
    },
  });
  server.on('error', () => {}); // of connections that end early
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address() as AddressInfo;
  const signIn = login === undefined ? '' : `${encodeURIComponent(login.user)}:${encodeURIComponent(login.password)}@`;
  return {
    url: `smtp://${signIn}127.0.0.1:${port}`,
    mails,
    get refusal() {
      return refusal;
    },
    set refusal(answer) {
      refusal = answer;
    },
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
