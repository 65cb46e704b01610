/** The process: serves, or runs the command that it was called with. What only one of them needs is loaded for it alone. */
import { keepCompiledCode } from './cli/compiled-code.ts';
import { holdYoungGeneration, letSmallHeapGrow } from './cli/garbage-collection.ts';

const words = process.argv.slice(2);
const isCommand = words.some((word) => !word.startsWith('-')) && words[0] !== 'serve';
const serves = !isCommand && !words.some((word) => /^(--help|-h|--version)$/.test(word));
if (serves) {
  holdYoungGeneration();
  letSmallHeapGrow();
}
keepCompiledCode();

if (serves) await serve(words[0] === 'serve' ? words.slice(1) : words);
else await runCommand();

async function serve(options: readonly string[]): Promise<void> {
  const [{ fail }, server] = await Promise.all([import('./cli/exit.ts'), import('./cli/serve.ts')]);
  await server.serve(options).catch(fail);
}

async function runCommand(): Promise<void> {
  const { runCommandLine } = await import('./cli/run.ts');
  const { stdin, stdout, stderr, env } = process;
  const onSignal = (listener: () => void) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, listener);
  };
  const exit = (code: number) => process.exit(code);
  try {
    const code = await runCommandLine(words, { stdin, stdout, stderr, env, onSignal, exit });
    if (code !== undefined) exit(code); // connections that are kept would hold it up
  } catch (error) {
    const { fail } = await import('./cli/exit.ts');
    fail(error);
  }
}
