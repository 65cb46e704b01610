import { fold, isUnspaced, PLACES_MAX, queryWords, searchTerm, wordTerms } from '../kernel/text.ts';
import type { ContactFields, Phone } from './contact.ts';
import { MATCH_TERMS_MAX, matchTerms } from './match.ts';
import { nationalDigitsOf } from './phone-number.ts';

/**
 * Of the rules by which search terms and sort keys of contacts are made of their fields: see SEARCH_VERSION, with which it
 * goes up too.
 */
export const CONTACT_SEARCH_VERSION = 2;

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

/** First character of the terms for labels, which are followed by the id of one. */
const LABEL = '\u0003';

/** Separates, in a term, the digits from a place on from the digit before that place. Sorts after every digit. */
const BEFORE = '<';

/** At how many places an email address, and the text of a phone number, is found. */
const PLACES_OF_ENTRY_MAX = 16;

/** How many labels a contact has at the most, deleted ones included. */
export const LABELS_PER_CONTACT_MAX = 100;

/**
 * The most search terms that a contact has: of its labels, those that duplicates share, of eight texts, of the name in both orders, of twenty email addresses, and
 * of twenty numbers their words, their digits as written, in E.164 and as dialled within the country, each with its
 * beginning and places inside.
 */
export const TERMS_MAX =
  LABELS_PER_CONTACT_MAX +
  MATCH_TERMS_MAX +
  3 * (10 * PLACES_MAX + 2 * 20 * PLACES_OF_ENTRY_MAX) +
  20 * (3 + 2 * ((PHONE_DIGITS_MAX - PHONE_DIGITS_MIN) / STRIDE));

/** The terms that find a contact: see ListContactsRequest.query. At most TERMS_MAX. */
export function contactTerms(fields: ContactFields): string[] {
  const { givenName, middleName, familyName, nickname, company, emails, phones } = fields;
  const terms = [
    ...nameTerms(givenName, familyName),
    ...nameTerms(fields.phoneticGivenName, fields.phoneticFamilyName),
    ...[middleName, nickname, fields.phoneticMiddleName, company].flatMap((text) => wordTerms(text)),
    ...emails.flatMap(({ address }) => emailTerms(address)),
    ...phones.flatMap(phoneTerms),
    ...fields.labelIds.map(labelTerm),
    ...matchTerms(fields),
  ];
  return [...new Set(terms)].filter((term) => term !== '');
}

/** The term that finds the contacts with a label. */
export function labelTerm(labelId: string): string {
  return LABEL + labelId;
}

/** Of scripts without blanks, given and family name are found as one text too, in both orders. */
function nameTerms(givenName: string, familyName: string): string[] {
  if (givenName === '' || familyName === '' || !(isUnspaced(givenName) && isUnspaced(familyName))) {
    return [...wordTerms(givenName), ...wordTerms(familyName)];
  }
  return [...wordTerms(`${familyName}${givenName}`), ...wordTerms(`${givenName}${familyName}`)];
}

/** The address, and what begins inside of it but for the top-level domain, which many share. */
function emailTerms(address: string): string[] {
  const terms = wordTerms(address, PLACES_OF_ENTRY_MAX);
  const domain = fold(address.slice(address.lastIndexOf('@') + 1));
  // The last place, where no other word is the same.
  if (domain.includes('.') && terms.at(-1) === domain.slice(domain.lastIndexOf('.') + 1)) terms.pop();
  return terms;
}

/** A range of terms: those that begin with `begin` and, if given, match the pattern of LIKE. */
export interface TermRange {
  readonly begin: string;
  readonly like?: string;
}

/**
 * The ranges of terms that a query selects, for each of its words. A contact is found that has, for each word, a term in
 * one of its ranges; without words every contact is. What could be a phone number selects its digits as well.
 */
export function contactQueries(query: string): TermRange[][] {
  const text = searchTerm(query);
  const words = queryWords(text);
  if (!/^[0-9 +./()*#,;x-]*$/.test(text)) return words.map((begin) => [{ begin }]);
  const digits = digitsOf(withoutTrunkPrefix(text));
  if (digits === '') return words.map((begin) => [{ begin }]);
  const numbers = digitRanges(digits);
  if (digits.length >= PHONE_DIGITS_MIN) {
    const international = digits.replace(/^00/, '');
    if (international !== digits && international !== '') numbers.push({ begin: international });
    // More digits than words of names have: they are one number.
    if (words.length > 1) return [numbers];
  }
  return words.map((begin) => [...(begin === digits ? [] : [{ begin }]), ...numbers]);
}

function digitRanges(digits: string): TermRange[] {
  if (digits.length < PHONE_DIGITS_MIN) return [{ begin: digits }];
  return [
    { begin: digits },
    { begin: INSIDE + digits },
    { begin: INSIDE + digits.slice(1), like: `%${BEFORE}${digits.slice(0, 1)}` },
    { begin: LONG, like: `%${digits}%` },
  ];
}

/** Whether a range contains a term. */
export function isInRange(term: string, { begin, like }: TermRange): boolean {
  if (!term.startsWith(begin)) return false;
  if (like === undefined) return true;
  const text = like.replaceAll('%', '');
  return like.endsWith('%') ? term.includes(text) : term.endsWith(text);
}

/** A number by its digits as written, in E.164 and as dialled within the country; one with words in it by those too. */
function phoneTerms({ number, e164 = '' }: Phone): string[] {
  const words = /\p{L}{3}/u.test(number) ? wordTerms(number, PLACES_OF_ENTRY_MAX) : [];
  const plain = fold(number);
  const written = digitsOf(plain);
  const dialled = digitsOf(withoutTrunkPrefix(plain));
  if (e164 === '') return [...words, written, ...digitTerms(dialled)];
  const international = digitsOf(e164);
  const national = nationalDigitsOf(e164);
  // Digits inside of these are inside of E.164, or else they are at the beginning.
  const isSame = [international, national, `00${international}`].includes(dialled);
  return [...words, written, national, ...digitTerms(international), ...(isSame ? [] : digitTerms(dialled))];
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

/** "+44 (0)20" without what is dialled within the country alone. */
function withoutTrunkPrefix(number: string): string {
  return number.replace(/^((?:\+|00)[0-9 ]{1,6})\(0\)/, '$1');
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, '');
}
