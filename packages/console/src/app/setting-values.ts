/** The units that a number is told in, by the end of the name: the first that it is a whole number of. */
const UNITS = {
  MS: [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1000],
    ['millisecond', 1],
  ],
  SECONDS: [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
    ['second', 1],
  ],
  DAYS: [['day', 1]],
} as const;

const BYTE_UNITS = ['', 'KiB', 'MiB', 'GiB', 'TiB'];

/** The number of a setting as people read it: `900` of KITH_FRESH_SIGN_IN_SECONDS as "15 minutes". Undefined for what is read as it is written. */
export function readableValue(name: string, value: string, language: string): string | undefined {
  if (!/^\d+$/.test(value) || name.endsWith('_PORT')) return undefined;
  const number = Number(value);
  const plain = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const text =
    (name.includes('BYTES') ? bytesText(number, plain) : durationText(name, number, language)) ?? plain.format(number);
  return text === value ? undefined : text;
}

function durationText(name: string, number: number, language: string): string | undefined {
  const ending = /_(MS|SECONDS|DAYS)$/.exec(name)?.[1];
  if (ending === undefined) return undefined;
  const units = UNITS[ending as keyof typeof UNITS];
  const [unit, size] = units.find(([, each]) => number >= each && number % each === 0) ?? units.at(-1)!;
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(number / size);
}

function bytesText(number: number, plain: Intl.NumberFormat): string | undefined {
  const power = Math.min(Math.floor(Math.log2(Math.max(1, number)) / 10), BYTE_UNITS.length - 1);
  return power === 0 ? undefined : `${plain.format(number / 1024 ** power)} ${BYTE_UNITS[power]}`;
}
