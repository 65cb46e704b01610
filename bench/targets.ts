/** A figure that is to be reached. */
export interface Outcome {
  readonly what: string;
  readonly aim: { readonly atLeast: number } | { readonly atMost: number };
  readonly figure: number;
  /** The same by the CPU that the server used, where that was counted. */
  readonly byCpu?: number;
}

/** Whether a figure is as it should be, as far as the report shows it. */
function isReached({ aim, figure }: Outcome): boolean {
  const shown = Number(figure.toFixed(2));
  return 'atLeast' in aim ? shown >= aim.atLeast : shown <= aim.atMost;
}

/** A table of what is aimed at, in Markdown; nothing without figures. */
export function targetLines(outcomes: readonly Outcome[]): string[] {
  if (outcomes.length === 0) return [];
  return [
    '## What is aimed at',
    '',
    '| ratio of medians | aim | measured | by CPU | reached |',
    '| --- | --- | ---: | ---: | --- |',
    ...outcomes.map((outcome) => {
      const { what, aim, figure, byCpu } = outcome;
      const limit = 'atLeast' in aim ? `at least ${aim.atLeast}` : `at most ${aim.atMost}`;
      return `| ${what} | ${limit} | ${figure.toFixed(2)} | ${byCpu?.toFixed(2) ?? ''} | ${isReached(outcome) ? 'yes' : 'NO'} |`;
    }),
    '',
    "Where the time of a call goes is shown below, by V8's profiler, in Kith and in grpc-js. Why what is not reached is not, and what would come next: [the path of a request](../../docs/decisions/request-path.md).",
    '',
  ];
}
