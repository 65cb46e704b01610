import { destination, type DestinationStream } from 'pino';

/** What may wait for a standard output that takes nothing, bytes; lines beyond are dropped. */
const WAITING_MAX = 4 * 1024 * 1024;

type Destination = ReturnType<typeof destination>;

/**
 * Standard output as the destination of the log. Where it is a file on a disk that is full, or a pipe that nobody
 * reads, lines are dropped and the server goes on: it says so on standard error, once until lines are written again.
 */
export function openLogDestination(fd: number = process.stdout.fd ?? 1): DestinationStream {
  const stream: Destination = destination({ dest: fd, maxLength: WAITING_MAX, sync: false });
  const { flushSync } = stream;
  let isFailing = false;
  let dropped = 0;
  const fail = (why: string) => {
    if (isFailing) return;
    isFailing = true;
    // At its end the process would try to write what is left, for ever.
    stream.flushSync = () => {};
    console.error(`kith: the log cannot be written: ${why}; the server goes on, and lines are lost until it can`);
  };
  stream.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  stream.on('drop', () => {
    dropped += 1;
    fail('standard output takes no more');
  });
  stream.on('write', () => {
    if (!isFailing) return;
    isFailing = false;
    stream.flushSync = flushSync;
    console.error(`kith: the log is written again; ${dropped} lines were lost`);
    dropped = 0;
  });
  return stream;
}
