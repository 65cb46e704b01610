import type { Generator } from '../../../test/support/generator.ts';
import { isVisible, trimEnds } from '../../kernel/text.ts';
import type { PartialDate } from '../../kernel/partial-date.ts';
import { type Card, EMPTY_CARD } from './card.ts';

/** What formats give a meaning: separators, escapes, quotes, beginnings of formulas, words of vCard. */
const SIGNS = [
  ';',
  ',',
  '\\',
  '\\n',
  ':',
  '"',
  '^',
  '^n',
  "'",
  '=',
  '+',
  '-',
  '@',
  '|',
  ' ::: ',
  '%41',
  '&',
  '<',
  '_$!<',
  'TYPE',
  'home',
  'a b',
];

/** Texts of one line as a contact may have them. */
function line(random: Generator, length: number): string {
  const parts = Array.from({ length: random.below(4) }, () => random.pick([random.pick(SIGNS), random.text(length)]));
  return parts.join('').replaceAll('\uFFFD', '');
}

function lines(random: Generator, length: number): string {
  return Array.from({ length: random.below(4) }, () => line(random, length)).join('\n');
}

/** Text that has something to be seen, without blanks at its ends. */
function visible(random: Generator, length: number): string {
  const text = trimEnds(line(random, length));
  return isVisible(text) ? text : 'x';
}

function date(random: Generator): PartialDate {
  const year = random.below(3) > 0 ? 1 + random.below(9999) : undefined;
  const month = year === undefined || random.below(3) > 0 ? 1 + random.below(12) : undefined;
  return { year, month, day: month !== undefined && random.below(3) > 0 ? 1 + random.below(28) : undefined };
}

/** A contact with values that are hard to write, as it is stored: of each list with a primary entry, one is primary. */
export function someCard(random: Generator): Card {
  const several = <T>(entry: () => T): T[] => Array.from({ length: random.below(4) }, entry);
  const onePrimary = <T extends object>(items: T[]): (T & { type: string; primary: boolean })[] => {
    const primary = random.below(Math.max(items.length, 1));
    const type = () => random.pick(['', 'home', 'work', 'mobile', 'Home', 'work fax', line(random, 5)]);
    return items.map((item, i) => ({ ...item, type: type(), primary: i === primary }));
  };
  const type = () => random.pick(['', 'spouse', 'anniversary', 'Spouse', line(random, 5)]);
  const texts = Object.entries(EMPTY_CARD).flatMap(([name, empty]) =>
    empty === '' && random.below(2) > 0 ? [[name, name === 'notes' ? lines(random, 30) : line(random, 8)]] : [],
  );
  return {
    ...EMPTY_CARD,
    ...(Object.fromEntries(texts) as Partial<Card>),
    emails: onePrimary(several(() => ({ address: trimEnds(`${line(random, 4)}@${visible(random, 4)}`) }))),
    phones: onePrimary(several(() => ({ number: random.pick([`+${random.below(1e9)}`, visible(random, 6)]) }))),
    addresses: onePrimary(
      several(() => ({
        street: random.pick([lines(random, 9), visible(random, 9)]),
        city: visible(random, 9),
        region: line(random, 4),
        postalCode: String(random.below(1e5)),
        country: line(random, 4),
      })),
    ),
    urls: onePrimary(
      several(() => ({ url: random.pick([`https://example.org/${random.below(99)}`, visible(random, 9)]) })),
    ),
    dates: several(() => ({ date: date(random), type: type() })),
    relations: several(() => ({ name: visible(random, 9), type: type() })),
    messagingHandles: several(() => ({
      handle: visible(random, 9),
      service: random.pick(['', 'XMPP', 'Skype', 'Signal', line(random, 5)]),
      type: random.pick(['', 'home', line(random, 5)]),
    })),
    customFields: several(() => ({
      label: line(random, 5),
      value: trimEnds(lines(random, 9)) === '' ? 'x' : visibleLines(random),
    })),
    languages: several(() => random.pick(['de', 'en-GB', visible(random, 5)])),
    labels: [...new Set(several(() => random.pick(['Family', 'a;b', visible(random, 5)])))],
    birthday: random.below(2) > 0 ? date(random) : undefined,
    starred: random.below(2) > 0,
    properties: several(() => `X-KEPT${random.below(9)};A=b:${escaped(line(random, 9))}`),
  };
}

function visibleLines(random: Generator): string {
  const text = trimEnds(lines(random, 9));
  return isVisible(text) ? text : 'x';
}

const escaped = (text: string) => text.replaceAll('\\', '');
