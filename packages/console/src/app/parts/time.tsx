import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { language, locale } from '../../preferences.ts';
import { t } from '../texts.ts';

const FULL = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });
const DAY = new Intl.DateTimeFormat(locale, { dateStyle: 'full' });
const CLOCK = new Intl.DateTimeFormat(locale, { timeStyle: 'short' });
const RELATIVE = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const;

export function toDate({ seconds, nanos }: Timestamp): Date {
  return new Date(Number(seconds) * 1000 + nanos / 1e6);
}

/** A time in the zone of the reader: as a distance for what is near, and exactly in the title. */
export function Time({ of }: { readonly of: Timestamp | undefined }) {
  if (of === undefined) return <span className="muted">{t.never}</span>;
  const date = toDate(of);
  return (
    <time dateTime={date.toISOString()} title={FULL.format(date)}>
      {near(date) ?? FULL.format(date)}
    </time>
  );
}

function near(date: Date): string | undefined {
  const seconds = (date.getTime() - Date.now()) / 1000;
  if (Math.abs(seconds) > 6 * 86_400) return undefined;
  const [unit, length] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ['second', 1];
  return RELATIVE.format(Math.round(seconds / length), unit);
}

export const dayOf = (date: Date): string =>
  date.toDateString() === new Date().toDateString() ? t.today : DAY.format(date);
export const clockOf = (date: Date): string => CLOCK.format(date);
