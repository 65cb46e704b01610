import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { MailState } from '../../gen/kith/mail/v1/outbox_service_pb.ts';
import { freePort } from '../../test/support/free-port.ts';
import { startKith } from '../../test/support/kith.ts';
import { mailsTo, outboxOf, readMail } from '../../test/support/outbox.ts';
import { exampleMail } from '../../test/support/outgoing-mail.ts';
import { startWebhookServer, type TestWebhookServer } from '../../test/support/webhook-server.ts';
import { SendError } from './sender.ts';
import { createWebhookSender, type WebhookOptions } from './webhook-sender.ts';

const NOW_MS = 1_700_000_000_900;
const SECRET = Buffer.alloc(32, 'new');

let server: TestWebhookServer;
beforeEach(async () => {
  server = await startWebhookServer();
});
afterEach(() => server[Symbol.asyncDispose]());

function senderOf(options: Partial<WebhookOptions> = {}) {
  const from = 'Example <accounts@mail.example>';
  return createWebhookSender({ url: server.url, secrets: [SECRET], from, now: () => NOW_MS, ...options });
}

function answer(status: number, headers: Record<string, string> = {}, body = ''): void {
  server.answer = (response) => void response.writeHead(status, headers).end(body);
}

async function failureOf(sent: Promise<void>): Promise<SendError> {
  const error = await sent.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SendError);
  return error as SendError;
}

test('posts the mail and what it tells, under one id however often, signed with each secret', async () => {
  const before = Buffer.alloc(24, 'old');
  const sender = senderOf({ url: `${server.url}?tenant=1`, secrets: [SECRET, before] });
  const mail = exampleMail({
    facts: { service: 'Kith', code: '12345678', link: 'https://example.org/#code=12345678' },
  });
  await sender.send(mail);
  await sender.send(mail);
  expect(server.requests).toHaveLength(2);
  for (const { url, headers, body } of server.requests) {
    expect(url).toBe('/kith?tenant=1');
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': mail.id,
      'webhook-timestamp': '1700000000',
    });
    const macs = [SECRET, before].map((secret) =>
      createHmac('sha256', secret).update(`${mail.id}.1700000000.${body}`).digest('base64'),
    );
    expect(headers['webhook-signature']).toBe(`v1,${macs[0]} v1,${macs[1]}`);
    const { recipient, createMs: _, ...told } = mail;
    expect(JSON.parse(body)).toEqual({
      type: 'mail.password_reset',
      timestamp: '1970-01-01T00:00:00.000Z',
      data: { ...told, to: recipient, from: 'Example <accounts@mail.example>', messageId: `<${mail.id}@mail.example>` },
    });
  }
});

test.each([
  [400, true],
  [413, true],
  [401, false],
  [404, false],
  [410, false],
  [422, true],
  [408, false],
  [409, false],
  [425, false],
  [429, false],
  [500, false],
  [503, false],
])('%i refuses a mail for good: %s', async (status, isFinal) => {
  answer(status, {}, 'the code 12345678 is too long');
  const error = await failureOf(senderOf().send(exampleMail()));
  expect(error.isFinal).toBe(isFinal);
  expect(error.message).toBe(`the webhook answered ${status}`);
});

test('waits as long as the service asks for', async () => {
  answer(429, { 'retry-after': '120' });
  expect((await failureOf(senderOf().send(exampleMail()))).retryAfterMs).toBe(120_000);
  answer(503, { 'retry-after': 'Fri, 27 Nov 2099 21:00:00 GMT' });
  expect((await failureOf(senderOf().send(exampleMail()))).retryAfterMs).toBe(0);
});

test.each([301, 302, 303, 307, 308])('follows no redirect: %i', async (status) => {
  await using elsewhere = await startWebhookServer();
  answer(status, { location: elsewhere.url });
  const error = await failureOf(senderOf().send(exampleMail()));
  expect(error).toMatchObject({ isFinal: false, message: expect.stringContaining('redirects are not followed') });
  expect(elsewhere.requests).toEqual([]);
});

/** Answers with a body that never ends, and tells when the connection was closed. */
function answerEndlessly(status: number): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers();
  server.answer = (response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'text/plain' });
    const write = () => {
      while (!response.destroyed && response.write('x'.repeat(16_384)));
    };
    response.on('drain', write);
    void once(response, 'close').then(resolve);
    write();
  };
  return promise;
}

test.each([
  [200, 'taken'],
  [500, 'the webhook answered 500'],
])('reads nothing of an endless answer with the status %i', async (status, outcome) => {
  const closed = answerEndlessly(status);
  const sent = senderOf().send(exampleMail());
  expect(await sent.then(() => 'taken').catch(({ message }: SendError) => message)).toBe(outcome);
  await closed;
});

describe.each<[string, Partial<WebhookOptions>, RegExp, () => Promise<string> | string]>([
  ['refuses connections', {}, /cannot be called: ECONNREFUSED$/, async () => `http://127.0.0.1:${await freePort()}/`],
  [
    'vanishes',
    {},
    /cannot be called: \w+$/,
    () => {
      server.answer = (response) => void response.socket?.destroy();
      return server.url;
    },
  ],
  [
    'says nothing in time',
    { timeoutMs: 50 },
    /did not answer within 0.05 s$/,
    () => {
      server.answer = () => {};
      return server.url;
    },
  ],
  [
    'answers with headers without end',
    {},
    /cannot be called: \w+$/,
    () => {
      server.answer = ({ socket }) => {
        const write = () => {
          while (socket !== null && !socket.destroyed && socket.write(`x-filler: ${'x'.repeat(4096)}\r\n`));
        };
        socket?.on('error', () => {});
        socket?.on('drain', write);
        socket?.write('HTTP/1.1 200 OK\r\n');
        write();
      };
      return server.url;
    },
  ],
])('a service that %s', (_, options, said, prepare) => {
  test('is tried again later, and shown without its URL', async () => {
    const url = `${await prepare()}?key=hidden`;
    const error = await failureOf(senderOf({ ...options, url }).send(exampleMail()));
    expect(error).toMatchObject({ isFinal: false, message: expect.stringMatching(said) });
    expect(error.message).not.toContain('hidden');
  });
});

test('a server sends its mails so: again after a failure, and never after a refusal for good, until by hand', async () => {
  await using kith = await startKith({
    env: {
      KITH_MAIL_WEBHOOK_URL: server.url,
      KITH_MAIL_WEBHOOK_SECRET: `whsec_${SECRET.toString('base64')}`,
    },
    server: { mailPollMs: 20 },
  });
  const { user } = await kith.user();
  const auth = kith.client(AuthService);
  // An attempt counts as soon as it begins, so its end shows in what it failed by.
  const becomes = async (state: MailState, attempts: number, lastError: string) => {
    await expect.poll(() => mailsTo(kith, user.id)).toMatchObject([{ state, attempts, lastError }]);
  };
  answer(503, { 'retry-after': '60' });
  await auth.requestPasswordReset({ identifier: user.username });
  await becomes(MailState.WAITING, 1, 'the webhook answered 503');
  answer(422);
  kith.clock.offsetMs += 61_000;
  await becomes(MailState.FAILED, 2, 'the webhook answered 422');
  answer(204);
  const [mail] = await mailsTo(kith, user.id);
  await (await outboxOf(kith)).resendMail({ mailId: mail!.id });
  await becomes(MailState.SENT, 1, '');
  expect(await readMail(kith, mail!.id)).toMatchObject({ text: '', html: '' });

  const [first, second, third] = server.requests.map(({ headers, body }) => ({ id: headers['webhook-id'], body }));
  expect([second, third]).toEqual([first, first]);
  expect(first?.id).toBe(mail!.id);
  const { code, link } = JSON.parse(first?.body ?? '').data.facts;
  expect(link).toBe(`${kith.config.account.url}reset-password#code=${code}`);
  await auth.resetPassword({ identifier: user.email, code, newPassword: 'an entirely new one' });
});
