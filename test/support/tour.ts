import { run } from './commands.ts';

/** Commands of a document, with what it says they print. */
export interface Step {
  /** Where the commands stand in the document. */
  readonly line: number;
  readonly commands: string;
  /** Undefined when the document does not show what is printed. */
  readonly expected: string | undefined;
}

/** What became of a tour. */
export interface Tour {
  /** 0 when every command of every step succeeded. */
  readonly code: number;
  /** What each step printed, up to the one that failed. */
  readonly outputs: readonly string[];
  readonly stderr: string;
}

/** The part of a Markdown document under a heading, with the headings below it. */
export function sectionOf(markdown: string, heading: string): string {
  const level = /^#+/.exec(heading)![0].length;
  const lines = markdown.split('\n');
  const start = lines.indexOf(heading);
  if (start === -1) throw new Error(`there is no heading ${heading}`);
  let fenced = false;
  const length = lines.slice(start + 1).findIndex((line) => {
    if (line.startsWith('```')) fenced = !fenced;
    return !fenced && /^#+ /.test(line) && line.indexOf(' ') <= level;
  });
  const above = '\n'.repeat(start); // so that lines keep their numbers
  return above + lines.slice(start, length === -1 ? undefined : start + 1 + length).join('\n');
}

/** Every ```sh block, each with the ```json or ```text block that comes next, if that comes before the next ```sh. */
export function stepsOf(markdown: string): Step[] {
  const blocks = [...markdown.matchAll(/^```(sh|json|text)\n(.*?)^```$/gms)].map(({ 1: language, 2: text, index }) => ({
    language,
    text: text!,
    line: markdown.slice(0, index).split('\n').length + 1,
  }));
  return blocks.flatMap(({ language, text, line }, i) => {
    if (language !== 'sh') return [];
    const next = blocks[i + 1];
    return [{ line, commands: text, expected: next?.language === 'sh' ? undefined : next?.text }];
  });
}

/** Matches what is printed where a document shows `expected`: "..." stands for anything, and space at the ends is free. */
export function patternOf(expected: string): RegExp {
  const parts = expected
    .trim()
    .split('...')
    .map((part) => RegExp.escape(part));
  return new RegExp(`^\\s*${parts.join('[^]*?')}\\s*$`);
}

/** Runs the steps in one bash, which ends with the first command that fails. */
export async function runSteps(bash: string, steps: readonly Step[], env?: Record<string, string>): Promise<Tour> {
  const script = steps.map(({ commands }) => `printf '\\036'\n${commands}`).join('\n');
  const { code, stdout, stderr } = await run(bash, ['-e', '-c', script], env);
  return { code, outputs: stdout.split('\x1e').slice(1), stderr };
}
