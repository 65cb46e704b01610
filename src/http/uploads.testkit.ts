/**
 * A client in a thread of its own, so that it sends while the server answers: uploads to `/trailers` of the port at
 * `url`, four at a time over each of six connections, and tells the trailer `end` of each, undefined where one has none.
 */
import http2 from 'node:http2';
import { parentPort, workerData } from 'node:worker_threads';

const { url, ca }: { url: string; ca: Uint8Array } = workerData;
const upload = Buffer.alloc(1_000_000);

const found = await Promise.all(Array.from({ length: 6 }, uploadOverOneConnection));
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- of a thread, not of a window
parentPort?.postMessage(found.flat());

async function uploadOverOneConnection(): Promise<unknown[]> {
  // What is left of an upload counts towards the memory of its session for as long as the session lives.
  const session = http2.connect(url, { ca: Buffer.from(ca), maxSessionMemory: 1000 });
  const ends: unknown[] = [];
  for (let round = 0; round < 10; round += 1) {
    const streams = Array.from({ length: 4 }, () => session.request({ ':path': '/trailers', ':method': 'POST' }));
    ends.push(...(await Promise.all(streams.map(endOf))));
  }
  session.destroy();
  return ends;
}

async function endOf(stream: http2.ClientHttp2Stream): Promise<unknown> {
  let end: unknown;
  stream.on('trailers', (trailers) => (end = trailers['end']));
  stream.on('error', () => {}).resume();
  stream.end(upload);
  await new Promise((resolve) => {
    stream.on('close', resolve);
  });
  return end;
}
