import { systemClock } from '../../kernel/clock.ts';
import { UsageError } from '../command.ts';

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A time as people write it, in the form of RFC 3339: `2027-01-31`, `2027-01-31T12:00:00Z`, `+90d`, `-2h`. Throws UsageError. */
export function parseTime(option: string, text: string): string {
  const [, sign, count, unit] = /^([+-])(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) {
    const ms = Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
    return new Date(systemClock.now() + (sign === '-' ? -ms : ms)).toISOString();
  }
  // Without an offset it would be the time of whatever place the computer is in.
  if (/^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))) return `${text}T00:00:00Z`;
  if (/^\d{4}-\d\d-\d\d[Tt ][\d:.]+([Zz]|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)))
    return text.replace(' ', 'T');
  throw new UsageError(
    `--${option} takes a time such as 2027-01-31, 2027-01-31T12:00:00Z, +90d or -2h, not ${JSON.stringify(text)}`,
  );
}
