/** Seconds of google.protobuf.Timestamp in JSON: the years from 1 to 9999. */
const SECONDS_MIN = -62_135_596_800;
const SECONDS_MAX = 253_402_300_799;
const DAY_SECONDS = 86_400;
const NANOS_MAX = 999_999_999;

/** Characters. */
const DASH = 45;
const DOT = 46;
const COLON = 58;
const T = 84;
const Z = 90;
const ZERO = 48;

/** The time in RFC 3339, as JSON has it, or undefined for one that it cannot have. */
export function formatTime(seconds: number, nanos: number): string | undefined {
  if (!(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX)) return undefined;
  if (!Number.isInteger(nanos) || nanos < 0 || nanos > NANOS_MAX) return undefined;
  const day = Math.floor(seconds / DAY_SECONDS);
  const millis = Math.floor(nanos / 1_000_000);
  if (millis * 1_000_000 === nanos) return formatMillis(day, seconds - day * DAY_SECONDS, millis);
  const fraction = nanos % 1_000 === 0 ? String(nanos / 1_000).padStart(6, '0') : String(nanos).padStart(9, '0');
  return `${formatMillis(day, seconds - day * DAY_SECONDS, 0).slice(0, -1)}.${fraction}Z`;
}

/**
 * The date of a day since 1970-01-01, in eras of 400 years that begin on the first of March, and the time of day.
 * https://howardhinnant.github.io/date_algorithms.html#civil_from_days
 *
 * Made of characters at once: a text that is put together of others takes four times as long until it is written.
 */
function formatMillis(day: number, ofDay: number, millis: number): string {
  const z = day + 719_468;
  const era = Math.floor(z / 146_097);
  const ofEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * ofYear + 2) / 153);
  const date = ofYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const hours = Math.floor(ofDay / 3600);
  const minutes = Math.floor(ofDay / 60) - hours * 60;
  const seconds = ofDay % 60;
  const y1 = digitOf(year, 1000);
  const y2 = digitOf(year, 100);
  const y3 = digitOf(year, 10);
  const y4 = digitOf(year, 1);
  const m1 = digitOf(month, 10);
  const m2 = digitOf(month, 1);
  const d1 = digitOf(date, 10);
  const d2 = digitOf(date, 1);
  const h1 = digitOf(hours, 10);
  const h2 = digitOf(hours, 1);
  const n1 = digitOf(minutes, 10);
  const n2 = digitOf(minutes, 1);
  const s1 = digitOf(seconds, 10);
  const s2 = digitOf(seconds, 1);
  if (millis === 0)
    return String.fromCharCode(y1, y2, y3, y4, DASH, m1, m2, DASH, d1, d2, T, h1, h2, COLON, n1, n2, COLON, s1, s2, Z);
  const f1 = digitOf(millis, 100);
  const f2 = digitOf(millis, 10);
  const f3 = digitOf(millis, 1);
  // biome-ignore format: as it is read
  return String.fromCharCode(
    y1, y2, y3, y4, DASH, m1, m2, DASH, d1, d2, T, h1, h2, COLON, n1, n2, COLON, s1, s2, DOT, f1, f2, f3, Z,
  );
}

/** The character of a digit of a number. */
function digitOf(value: number, place: number): number {
  return ZERO + (Math.floor(value / place) % 10);
}

/** The number of the day since 1970-01-01. */
function dayOf(year: number, month: number, date: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const ofYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + date - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + ofYear - 719_468;
}

/** A time that was read. One object for all. */
export const time = { seconds: 0, nanos: 0 };

const TEXT_LENGTH_MIN = '0001-01-01T00:00:00Z'.length;
const FRACTION_AT = TEXT_LENGTH_MIN - 1;

/** Reads a time in UTC into `time`. False for what is not plainly one, such as one with an offset. */
export function parseTime(text: string): boolean {
  const { length } = text;
  if (length < TEXT_LENGTH_MIN || text.charCodeAt(length - 1) !== Z) return false;
  if (text.charCodeAt(4) !== DASH || text.charCodeAt(7) !== DASH || text.charCodeAt(10) !== T) return false;
  if (text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON) return false;
  const year = digitsAt(text, 0) * 100 + digitsAt(text, 2);
  const month = digitsAt(text, 5);
  const date = digitsAt(text, 8);
  const hours = digitsAt(text, 11);
  const minutes = digitsAt(text, 14);
  const seconds = digitsAt(text, 17);
  // A comparison with NaN is false.
  if (!(year >= 1 && month >= 1 && month <= 12 && date >= 1 && hours < 24 && minutes < 60 && seconds < 60))
    return false;
  if (date > 28 && date > daysOf(year, month)) return false;
  const nanos = fractionOf(text);
  if (Number.isNaN(nanos)) return false;
  time.seconds = dayOf(year, month, date) * DAY_SECONDS + hours * 3600 + minutes * 60 + seconds;
  time.nanos = nanos;
  return true;
}

/** Two digits, or NaN. */
function digitsAt(text: string, at: number): number {
  const tens = text.charCodeAt(at) - ZERO;
  const ones = text.charCodeAt(at + 1) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Nanoseconds, or NaN. */
function fractionOf(text: string): number {
  const end = text.length - 1;
  if (end === FRACTION_AT) return 0;
  const digits = end - FRACTION_AT - 1;
  if (text.charCodeAt(FRACTION_AT) !== DOT || digits < 1 || digits > 9) return Number.NaN;
  let nanos = 0;
  for (let at = FRACTION_AT + 1; at < end; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    nanos = nanos * 10 + digit;
  }
  return nanos * 10 ** (9 - digits);
}
