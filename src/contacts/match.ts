import { hash } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { formatDate } from '../kernel/partial-date.ts';
import { fold } from '../kernel/text.ts';
import type { ContactFields } from './contact.ts';

/** First character of the terms that contacts share which may be the same person. The contract allows it in no text. */
export const MATCH = '\u0004';

/** Why two contacts may be the same person. A name alone is no reason, but counts beside another one. */
export type MatchReason = 'email' | 'phone' | 'name_and_company' | 'name_and_birthday' | 'name';

/**
 * The reasons that have terms, by the letter behind MATCH: duplicates are listed in the order of these. Many may share a
 * number or an address, and fewest a name and a birthday.
 */
const REASONS = { a: 'name_and_birthday', b: 'name_and_company', c: 'phone', d: 'email' } as const satisfies Record<
  string,
  MatchReason
>;
type Kind = keyof typeof REASONS;

/** How many of a hundred pairs with one of the reasons are taken to be the same person. */
const CHANCES: Readonly<Record<MatchReason, number>> = {
  name_and_birthday: 90,
  name_and_company: 75,
  email: 70,
  phone: 60,
  name: 50,
};

/** How many terms of these a contact has at the most: of 20 numbers and 20 addresses, and two with the name. */
export const MATCH_TERMS_MAX = 42;

/** Terms that two contacts share if they may be the same person. At most MATCH_TERMS_MAX. */
export function matchTerms(fields: ContactFields): string[] {
  const { company, birthday, emails, phones } = fields;
  const name = nameOf(fields);
  const terms = [
    ...emails.map(({ address }) => termOf('d', emailKey(address))),
    ...phones.flatMap(({ e164 = '' }) => (e164 === '' ? [] : [termOf('c', e164)])),
  ];
  const organisation = fold(company);
  if (name !== '' && organisation !== '') terms.push(termOf('b', name, organisation));
  if (name !== '' && birthday?.month !== undefined && birthday.day !== undefined) {
    terms.push(termOf('a', name, formatDate(birthday, '-')));
  }
  return terms;
}

/** How two contacts match. */
export interface Match {
  /** The first term that they share. */
  readonly term: string;
  /** The most telling one first. */
  readonly reasons: readonly MatchReason[];
  /** How likely they are the same person, from 1 to 99. */
  readonly score: number;
}

/** How two contacts match; undefined if they share no term. */
export function matchOf(a: ContactFields, b: ContactFields): Match | undefined {
  const shared = [...new Set(matchTerms(a)).intersection(new Set(matchTerms(b)))].toSorted();
  const [term] = shared;
  if (term === undefined) return undefined;
  const found = new Set<MatchReason>(shared.map((each) => REASONS[each.charAt(1) as Kind]));
  if (!found.has('name_and_birthday') && !found.has('name_and_company') && nameOf(a) !== '' && nameOf(a) === nameOf(b))
    found.add('name');
  const reasons = (Object.keys(CHANCES) as MatchReason[]).filter((reason) => found.has(reason));
  // As if each reason were right or wrong for itself.
  const wrong = reasons.reduce((product, reason) => product * (1 - CHANCES[reason] / 100), 1);
  return { term, reasons, score: Math.min(Math.round(100 * (1 - wrong)), 99) };
}

/** Of a fixed length, so that terms stay short and sort by their kind. */
function termOf(kind: Kind, ...key: readonly string[]): string {
  return MATCH + kind + hash('sha256', JSON.stringify(key), 'base64url').slice(0, 22);
}

/** What makes two addresses one mailbox: regardless of case, and the domain in either form of IDNA. */
export function emailKey(address: string): string {
  const at = address.lastIndexOf('@') + 1;
  const domain = address.slice(at);
  return (address.slice(0, at) + (domainToASCII(domain) || domain)).normalize('NFC').toLowerCase();
}

/** The words of given and family name in any order; '' for none. */
function nameOf({ givenName, familyName }: ContactFields): string {
  return fold(`${givenName} ${familyName}`).split(' ').toSorted().join(' ');
}
