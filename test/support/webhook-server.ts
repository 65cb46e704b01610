import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A service that takes mails by webhook and keeps them. */
export interface TestWebhookServer extends AsyncDisposable {
  /** For KITH_MAIL_WEBHOOK_URL. */
  readonly url: string;
  /** In the order in which they came, with those that were refused. */
  readonly requests: readonly WebhookRequest[];
  /** Answers from now on. Default: 204. */
  answer: (response: ServerResponse) => void;
}

export interface WebhookRequest {
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export async function startWebhookServer(): Promise<TestWebhookServer> {
  const requests: WebhookRequest[] = [];
  const server = createServer((request, response) => {
    const take = async () => {
      requests.push({ url: request.url ?? '', headers: request.headers, body: await text(request) });
      started.answer(response);
    };
    void take();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const started: TestWebhookServer = {
    url: `http://127.0.0.1:${port}/kith`,
    requests,
    answer: (response) => void response.writeHead(204).end(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return started;
}
