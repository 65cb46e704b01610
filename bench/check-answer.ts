import { connect } from 'node:http2';
import { request as http1Request } from 'node:http';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import type { Request } from './load.ts';

/** Makes a request once and throws unless it succeeds: load generators do not read trailers. */
export async function checkAnswer(address: string, http: 1 | 2, request: Request): Promise<void> {
  const answer = http === 1 ? await overHttp1(address, request) : await overHttp2(address, request);
  const isGrpc = request.headers['content-type']?.startsWith('application/grpc') === true;
  const isWeb = request.headers['content-type']?.startsWith('application/grpc-web') === true;
  const grpcStatus = isWeb ? /grpc-status: (\d+)/.exec(answer.body.toString('latin1'))?.[1] : answer.grpcStatus;
  if (answer.status === 200 && (!isGrpc || grpcStatus === '0') && answer.body.length > 0) return;
  throw new Error(`${address}${request.path} answers ${answer.status}, ${grpcStatus}: ${answer.body.toString()}`);
}

interface Answer {
  readonly status: number;
  readonly grpcStatus: string | undefined;
  readonly body: Buffer;
}

async function overHttp1(address: string, { path, headers, bodies: [body] }: Request): Promise<Answer> {
  const call = http1Request(address + path, { method: body === undefined ? 'GET' : 'POST', headers, agent: false });
  call.end(body);
  const [response] = (await once(call, 'response')) as [import('node:http').IncomingMessage];
  return { status: response.statusCode ?? 0, grpcStatus: undefined, body: await buffer(response) };
}

async function overHttp2(address: string, { path, headers, bodies: [body] }: Request): Promise<Answer> {
  const session = connect(address);
  try {
    const call = session.request({ ...headers, ':method': body === undefined ? 'GET' : 'POST', ':path': path });
    call.end(body);
    let grpcStatus: string | undefined;
    call.once('trailers', (trailers) => (grpcStatus = String(trailers['grpc-status'])));
    const [answered] = (await once(call, 'response')) as [import('node:http2').IncomingHttpHeaders];
    const whole = await buffer(call);
    return { status: Number(answered[':status']), grpcStatus, body: whole };
  } finally {
    session.destroy();
  }
}
