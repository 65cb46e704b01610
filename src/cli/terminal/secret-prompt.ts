import type { ReadStream } from 'node:tty';

const [CTRL_C, CTRL_D, BACKSPACE, CTRL_U, DELETE] = ['\u0003', '\u0004', '\b', '\u0015', '\u007f'];

/**
 * Asks for a line on a terminal that shows nothing of what is typed. Backspace takes back a character and Ctrl-U all of
 * them. Ctrl-C is a SIGINT of the process, as it is elsewhere. Undefined for Ctrl-D in an empty line, when the signal
 * aborts, and when the terminal goes away.
 */
export async function readSecret(
  stdin: ReadStream,
  output: NodeJS.WritableStream,
  question: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const wasRaw = stdin.isRaw;
  stdin.setRawMode(true); // before the question, so that nothing typed in answer is shown
  output.write(question);
  stdin.setEncoding('utf8').resume();
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let typed: string[] = [];
  const take = (text: string) => {
    for (const character of text) {
      if (character === '\r' || character === '\n') return resolve(typed.join(''));
      if (character === CTRL_C) {
        process.kill(process.pid, 'SIGINT');
        return;
      }
      if (character === CTRL_D && typed.length === 0) return resolve(undefined);
      if (character === BACKSPACE || character === DELETE) typed.pop();
      else if (character === CTRL_U) typed = [];
      else if (character >= ' ') typed.push(character);
    }
  };
  const end = () => resolve(undefined);
  stdin.on('data', take).once('end', end);
  signal.addEventListener('abort', end);
  try {
    return await promise;
  } finally {
    stdin.off('data', take).off('end', end);
    signal.removeEventListener('abort', end);
    stdin.setRawMode(wasRaw);
    stdin.pause();
    output.write('\n');
  }
}
