import { searchTerm, WORDS_MAX, wordTerms } from '../kernel/text.ts';
import type { ContactFields } from './contact.ts';

/** The fewest consecutive digits inside a phone number that find it. */
const PHONE_DIGITS_MIN = 4;

/**
 * The most digits of a number for which terms index the digits inside it: the 15 of E.164 and a
 * prefix or extension. Longer numbers are compared one by one.
 */
const PHONE_DIGITS_MAX = 20;

/** Distance in digits between the places inside a number that have a term. */
const STRIDE = 2;

/** First characters of the terms for the inside of a phone number. The contract allows them in no text. */
const INSIDE = '\u0001';
const LONG = '\u0002';

/** Separates, in a term, the digits from a place on from the digit before that place. Sorts after every digit. */
const BEFORE = '<';

/**
 * The most search terms that a contact has: three texts of eight words, twenty email
 * addresses and their domains, twenty numbers with their beginning and eight places inside.
 */
export const TERMS_MAX = 3 * WORDS_MAX + 20 * 2 + 20 * (1 + (PHONE_DIGITS_MAX - PHONE_DIGITS_MIN) / STRIDE);

/** The terms that find a contact: see ListContactsRequest.query. At most TERMS_MAX. */
export function contactTerms({ givenName, familyName, company, emails, phones }: ContactFields): string[] {
  const terms = [
    ...wordTerms(`${givenName} ${familyName}`),
    ...wordTerms(`${familyName} ${givenName}`),
    ...wordTerms(company),
    ...emails.flatMap(({ address }) => [searchTerm(address), searchTerm(address.slice(address.lastIndexOf('@') + 1))]),
    ...phones.flatMap(({ number }) => digitTerms(digitsOf(number))),
  ];
  return [...new Set(terms)].filter((term) => term !== '');
}

/** A range of terms: those that begin with `begin` and, if given, match the pattern of LIKE. */
export interface TermRange {
  readonly begin: string;
  readonly like?: string;
}

/**
 * The ranges of terms that a query selects. A term in any of them finds the contact; without
 * ranges every contact is found. A query that could be a phone number selects its digits as well.
 */
export function contactQueries(query: string): TermRange[] {
  const text = searchTerm(query);
  if (text === '') return [];
  const digits = /^[0-9 +./()*#,;x-]*$/.test(text) ? digitsOf(text) : '';
  const beginnings = digits === '' || digits === text ? [text] : [text, digits];
  const ranges: TermRange[] = beginnings.map((begin) => ({ begin }));
  if (digits.length < PHONE_DIGITS_MIN) return ranges;
  ranges.push(
    { begin: INSIDE + digits },
    { begin: INSIDE + digits.slice(1), like: `%${BEFORE}${digits.slice(0, 1)}` },
    { begin: LONG, like: `%${digits}%` },
  );
  return ranges;
}

/** Whether a range contains a term. */
export function isInRange(term: string, { begin, like }: TermRange): boolean {
  if (!term.startsWith(begin)) return false;
  if (like === undefined) return true;
  const text = like.replaceAll('%', '');
  return like.endsWith('%') ? term.includes(text) : term.endsWith(text);
}

/**
 * All digits, and the digits from every second place to the end, each with the digit before that
 * place: any digits inside the number begin at such a place, or one digit before it.
 */
function digitTerms(digits: string): string[] {
  if (digits.length > PHONE_DIGITS_MAX) return [digits, LONG + digits];
  const terms = [digits];
  for (let place = STRIDE; place <= digits.length - PHONE_DIGITS_MIN + 1; place += STRIDE) {
    terms.push(INSIDE + digits.slice(place) + BEFORE + digits.charAt(place - 1));
  }
  return terms;
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, '');
}
