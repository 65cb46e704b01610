import { searchTerm, WORDS_MAX, wordTerms } from '../kernel/text.ts';
import type { ContactFields } from './contact.ts';

/** The shortest run of digits inside a phone number that finds it. */
const PHONE_DIGITS_MIN = 4;

/**
 * Digits of a number up to which the runs inside it are looked up: the 15 of E.164 and a
 * prefix or extension. Longer ones are compared one by one.
 */
const PHONE_DIGITS_MAX = 20;

/** Every how many digits a run inside a number is a term. */
const STRIDE = 2;

/** Begin the terms of what is inside a phone number, as opposed to its beginning. No text of the contract holds them. */
const INSIDE = '\u0001';
const LONG = '\u0002';

/** Stands in a term between the digits from a place on and the digit before that place; sorts behind every digit. */
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

/** Terms that find a contact: those that begin with `begin` and, if there is one, match the pattern of LIKE. */
export interface TermRange {
  readonly begin: string;
  readonly like?: string;
}

/**
 * The terms that a query asks for, any of which finds a contact; none asks for all.
 * What could be a phone number asks for its digits as well.
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

/** Whether a term is of a range. */
export function isInRange(term: string, { begin, like }: TermRange): boolean {
  if (!term.startsWith(begin)) return false;
  if (like === undefined) return true;
  const text = like.replaceAll('%', '');
  return like.endsWith('%') ? term.includes(text) : term.endsWith(text);
}

/**
 * All digits, and the ends of them from every second place on, each with the digit
 * before it: a run of digits begins at such a place, or its second digit does.
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
