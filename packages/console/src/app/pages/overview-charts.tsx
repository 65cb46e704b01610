import { ActivityService, type ListUserActivityResponse } from '@kith/client/activity';
import type { GetStatusResponse } from '@kith/client/admin';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { language, locale } from '../../preferences.ts';
import { chartTexts } from '../chart-texts.ts';
import { Permission, useMay, useService } from '../context.tsx';
import { Chart } from '../parts/chart.tsx';
import { Select } from '../parts/form.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { toDate } from '../parts/time.tsx';

/** What happens in each second, and who signed in or failed to. */
export default function OverviewCharts({ status }: { readonly status: GetStatusResponse }) {
  const mayReadAll = useMay(Permission.ACTIVITY_READ);
  return (
    <div className="columns">
      <Rate status={status} />
      {mayReadAll && <SignIns />}
    </div>
  );
}

/** How many rates are kept: ten minutes of them. */
const RATES_MAX = 200;

interface Sample {
  readonly head: number;
  readonly timeMs: number;
}

const RATE = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const COUNT = new Intl.NumberFormat(language);
const CLOCK = new Intl.DateTimeFormat(locale, { timeStyle: 'medium' });

/** Activities are numbered in the order in which they are recorded: between two answers of the server, by so many more. */
function Rate({ status: { activityLog, process } }: { readonly status: GetStatusResponse }) {
  const [samples, setSamples] = useState<readonly Sample[]>([]);
  const head = activityLog === undefined ? undefined : Number(activityLog.head);
  const timeMs = process?.currentTime === undefined ? undefined : toDate(process.currentTime).getTime();
  useEffect(() => {
    if (head === undefined || timeMs === undefined) return;
    setSamples((before) =>
      // Answers of several processes, whose clocks differ a little.
      timeMs > (before.at(-1)?.timeMs ?? 0) ? [...before, { head, timeMs }].slice(-RATES_MAX - 1) : before,
    );
  }, [head, timeMs]);
  const all = samples.slice(1).map(({ head: now, timeMs: nowMs }, i) => {
    const before = samples[i]!;
    return { seconds: nowMs / 1000, rate: Math.max(0, ((now - before.head) * 1000) / (nowMs - before.timeMs)) };
  });
  const rates = all.length < 2 ? [] : all; // one alone has no length of time
  const values = rates.map(({ rate }) => rate);
  const last = values.at(-1);
  return (
    <Chart
      title={chartTexts.rate}
      summary={
        last === undefined
          ? chartTexts.rateSoon
          : chartTexts.rateNow(RATE.format(last), RATE.format(Math.max(...values)))
      }
      times={rates.map(({ seconds }) => seconds)}
      series={[{ label: chartTexts.rate, tone: 'accent', shape: 'line', values }]}
      timeText={(seconds) => CLOCK.format(seconds * 1000)}
      valueText={(value) => RATE.format(value)}
    />
  );
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** How long back, and how long each of the bars is. */
const SPANS = {
  hour: { bars: 60, barMs: MINUTE_MS, format: { timeStyle: 'short' } },
  day: { bars: 24, barMs: HOUR_MS, format: { timeStyle: 'short' } },
  week: { bars: 28, barMs: 6 * HOUR_MS, format: { weekday: 'short', hour: 'numeric', minute: '2-digit' } },
} as const satisfies Record<
  string,
  { readonly bars: number; readonly barMs: number; readonly format: Intl.DateTimeFormatOptions }
>;
type Span = keyof typeof SPANS;

const STARTED = 'kith.session.started';
const FAILED = 'kith.sign_in.failed';

/** The most activities that are asked for, and in how many pages. */
const PAGE_SIZE = 1000;
const PAGES_MAX = 5;

/** How often they are asked for again while it is one page of them, milliseconds. */
const REFRESH_MS = 30_000;

interface SignInCounts {
  readonly span: Span;
  /** When each bar begins, seconds since 1970. */
  readonly times: readonly number[];
  readonly started: readonly number[];
  readonly failed: readonly number[];
  /** Whether there are older ones that were not counted. */
  readonly isCut: boolean;
  readonly isOnePage: boolean;
}

function SignIns() {
  const activity = useService(ActivityService, 'UserActivity');
  const [span, setSpan] = useState<Span>('day');
  const { data, error, refetch } = useQuery({
    queryKey: ['sign-ins', span],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      countSignIns(span, (request) => activity.list({ ...request, pageSize: PAGE_SIZE }, { signal }).page()),
    refetchInterval: ({ state }) => (state.data?.isOnePage === true ? REFRESH_MS : false),
  });
  if (error !== null) return <Failed error={error} onRetry={() => void refetch()} />;
  const sum = (values: readonly number[]) => COUNT.format(values.reduce((all, each) => all + each, 0));
  const text = new Intl.DateTimeFormat(locale, SPANS[data?.span ?? span].format);
  const controls = (
    <Select
      label={chartTexts.span}
      isLabelHidden
      value={span}
      options={Object.entries(chartTexts.spans)}
      onChange={(value) => setSpan(value as Span)}
    />
  );
  if (data === undefined) return <Skeleton rows={4} />;
  return (
    <Chart
      title={chartTexts.signIns}
      summary={[
        chartTexts.signInSum(sum(data.started), sum(data.failed)),
        ...(data.isCut ? [chartTexts.cut(COUNT.format(PAGE_SIZE * PAGES_MAX))] : []),
      ].join(' ')}
      times={data.times}
      series={[
        { label: chartTexts.signIns, tone: 'accent', shape: 'bars', values: data.started },
        { label: chartTexts.failures, tone: 'danger', shape: 'line', values: data.failed },
      ]}
      timeText={(seconds) => text.format(seconds * 1000)}
      valueText={(value) => (Number.isInteger(value) ? COUNT.format(value) : '')}
      controls={controls}
    />
  );
}

/** Counts who signed in and who failed to, the newest first. */
async function countSignIns(
  span: Span,
  getPage: (request: {
    readonly actionPrefixes: string[];
    readonly startTime: { readonly seconds: bigint };
    readonly pageToken: string;
  }) => Promise<ListUserActivityResponse>,
): Promise<SignInCounts> {
  const { bars, barMs } = SPANS[span];
  const startMs = (Math.floor(Date.now() / barMs) + 1 - bars) * barMs;
  const started = Array.from({ length: bars }, () => 0);
  const failed = Array.from({ length: bars }, () => 0);
  let pageToken = '';
  let pages = 0;
  do {
    const page = await getPage({
      actionPrefixes: [STARTED, FAILED],
      startTime: { seconds: BigInt(startMs / 1000) },
      pageToken,
    });
    for (const { action, eventTime } of page.activities) {
      const bar = eventTime === undefined ? -1 : Math.floor((toDate(eventTime).getTime() - startMs) / barMs);
      if (bar >= 0 && bar < bars) (action === FAILED ? failed : started)[bar]! += 1;
    }
    ({ nextPageToken: pageToken } = page);
    pages += 1;
  } while (pageToken !== '' && pages < PAGES_MAX);
  return {
    span,
    times: started.map((_, i) => (startMs + i * barMs) / 1000),
    started,
    failed,
    isCut: pageToken !== '',
    isOnePage: pages === 1,
  };
}
