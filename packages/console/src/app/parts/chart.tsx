import './chart.css';
import 'uplot/dist/uPlot.min.css';
import { type ReactNode, useEffect, useEffectEvent, useId, useRef, useState, useSyncExternalStore } from 'react';
import UPlot from 'uplot';
import { chartTexts } from '../chart-texts.ts';

export interface Series {
  readonly label: string;
  readonly tone: 'accent' | 'danger';
  /** Bars and lines are told apart without their colors. */
  readonly shape: 'bars' | 'line';
  readonly values: readonly number[];
}

export interface ChartProps {
  readonly title: string;
  /** What there is to see, in a sentence. */
  readonly summary: string;
  /** Seconds since 1970, ascending: as many as each of the series has values. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly timeText: (seconds: number) => string;
  readonly valueText: (value: number) => string;
  /** Beside the title. */
  readonly controls?: ReactNode;
}

const HEIGHT = 170;

/** Values over time, two at least, as a drawing, a sentence and a table. */
export function Chart({ title, summary, times, series, timeText, valueText, controls }: ChartProps) {
  const id = useId();
  const target = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | undefined>(undefined);
  const scheme = useSyncExternalStore(subscribeToScheme, schemeNow);
  const [at, setAt] = useState<number | undefined>(undefined);
  const data = [[...times], ...series.map(({ values }) => [...values])] as UPlot.AlignedData;
  const create = useEffectEvent((element: HTMLDivElement) => new UPlot(options(element), data, element));
  const hasBars = series.some(({ shape }) => shape === 'bars');
  const options = (element: HTMLDivElement): UPlot.Options => ({
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: { setCursor: [({ cursor: { idx } }) => setAt(idx ?? undefined)] },
    scales: {
      x: { range: (_, min, max) => rangeOf(min, max, hasBars) },
      y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      { ...axis(), values: (_, splits) => splits.map(timeText), space: 80 },
      { ...axis(), values: (_, splits) => splits.map(valueText), size: 48 },
    ],
    series: [
      {},
      ...series.map(({ label, tone, shape }) => ({
        label,
        stroke: colorOf(`--${tone === 'accent' ? 'accent-text' : 'danger'}`),
        width: 2,
        ...(shape === 'bars' && {
          fill: colorOf('--accent-soft'),
          paths: UPlot.paths.bars!({ size: [0.7, 60] }),
          points: { show: false },
        }),
      })),
    ],
  });
  useEffect(() => {
    const element = target.current!;
    const drawn = create(element);
    plot.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
    };
  }, [scheme, series.length]);
  useEffect(() => plot.current?.setData(data));
  const pointed = at === undefined || times[at] === undefined ? undefined : at;
  return (
    <figure className="card pad chart" aria-labelledby={id}>
      <div className="page-head">
        <figcaption id={id} className="page-title">
          <h2>{title}</h2>
        </figcaption>
        {controls}
      </div>
      <p className="muted">
        {pointed === undefined
          ? summary
          : `${timeText(times[pointed]!)}: ${series
              .map(({ label, values }) => `${label} ${valueText(values[pointed] ?? 0)}`)
              .join(', ')}`}
      </p>
      <div ref={target} className="plot" role="img" aria-label={summary} />
      <details>
        <summary>{chartTexts.asTable}</summary>
        <div className="results" tabIndex={0} role="region" aria-labelledby={id}>
          <table className="table">
            <thead>
              <tr>
                <th scope="col">{chartTexts.time}</th>
                {series.map(({ label }) => (
                  <th key={label} scope="col">
                    {label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times
                .map((time, i) => (
                  <tr key={time}>
                    <th scope="row">{timeText(time)}</th>
                    {series.map(({ label, values }) => (
                      <td key={label}>{valueText(values[i] ?? 0)}</td>
                    ))}
                  </tr>
                ))
                .toReversed()}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

/** The shortest time that a line is drawn over, seconds. */
const LINE_SECONDS_MIN = 60;

/** What the time axis shows: for bars with room for the first and the last one, which stand on their times. */
function rangeOf(min: number, max: number, hasBars: boolean): UPlot.Range.MinMax {
  if (!Number.isFinite(min)) return [min, max]; // there is nothing yet
  const room = (max - min) / 40;
  return hasBars ? [min - room, max + room] : [Math.min(min, max - LINE_SECONDS_MIN), max];
}

const colorOf = (property: string): string => getComputedStyle(document.documentElement).getPropertyValue(property);

function axis(): UPlot.Axis {
  return {
    stroke: colorOf('--muted'),
    font: '12px system-ui',
    grid: { stroke: colorOf('--line'), width: 1 },
    ticks: { show: false },
  };
}

/** Colors of a drawing do not follow the style sheet: it is drawn anew when the scheme changes. */
function subscribeToScheme(listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  observer.observe(document.documentElement, { attributeFilter: ['data-scheme'] });
  const media = matchMedia('(prefers-color-scheme: dark)');
  media.addEventListener('change', listener);
  return () => {
    observer.disconnect();
    media.removeEventListener('change', listener);
  };
}

const schemeNow = (): string => colorOf('--page');
