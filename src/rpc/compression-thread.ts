/** Compresses and unpacks what src/rpc/compressor.ts sends, one after the other. */
import { parentPort } from 'node:worker_threads';
import type { Job, JobOutcome } from './compressor.ts';
import { compress, decompress } from './zlib-codecs.ts';

const port = parentPort;
if (port === null) throw new Error('this file is the entry of a worker thread');

port.on('message', ({ encoding, bytes, maxBytes }: Job) => {
  const outcome: JobOutcome =
    maxBytes === undefined ? compress(encoding, bytes) : decompress(encoding, bytes, maxBytes);
  if (typeof outcome === 'string') port.postMessage(outcome);
  // A small result may be a part of a pool that other buffers share.
  else if (outcome.byteLength === outcome.buffer.byteLength) port.postMessage(outcome, [outcome.buffer]);
  else port.postMessage(outcome);
});
