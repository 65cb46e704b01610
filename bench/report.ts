import { mkdir, writeFile } from 'node:fs/promises';

/** The value below which the share `q` (0 to 1) of the values lies, by the nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

/** Writes lines of Markdown to bench/results/NAME.md, and prints them. */
export async function writeReport(name: string, command: string, lines: readonly string[]): Promise<void> {
  const text = [`Written by \`${command}\`.`, '', ...lines, ''].join('\n');
  await mkdir('bench/results', { recursive: true });
  await writeFile(`bench/results/${name}.md`, text);
  console.log(text);
}
