/** The known parts of a date of the Gregorian calendar: a year, a month or both; a day only with a month. */
export interface PartialDate {
  readonly year: number | undefined;
  readonly month: number | undefined;
  readonly day: number | undefined;
}

/** Whether a date is one of the calendar; 29 February needs a leap year or no year. */
export function isCalendarDate({ year, month, day }: PartialDate): boolean {
  if (year === undefined && month === undefined) return false;
  if (year !== undefined && (year < 1 || year > 9999)) return false;
  if (month !== undefined && (month < 1 || month > 12)) return false;
  if (day === undefined) return true;
  if (month === undefined || day < 1) return false;
  const isLeap = year === undefined || (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0));
  return day <= [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]!;
}

/** A date with what is known of it, as vCard writes it. A year and a month have a hyphen between them whatever the separator (RFC 6350, 4.3.1). */
export function formatDate({ year, month, day }: PartialDate, separator: '' | '-'): string {
  const digits = (n: number, length: number) => String(n).padStart(length, '0');
  const monthDay = [month, day].filter((part) => part !== undefined).map((part) => digits(part, 2));
  if (year === undefined) return `--${monthDay.join(separator)}`;
  if (day === undefined) return [digits(year, 4), ...monthDay].join('-');
  return [digits(year, 4), ...monthDay].join(separator);
}
