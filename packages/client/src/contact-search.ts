import type { Contact } from './gen/kith/contact/v1/contact_pb.ts';

/** Letters, quotes and signs that NFKD leaves, by what they are found as. */
const ALIKE: Readonly<Record<string, string>> = {
  æ: 'ae',
  đ: 'd',
  ð: 'd',
  ħ: 'h',
  ı: 'i',
  ł: 'l',
  ø: 'o',
  œ: 'oe',
  ŧ: 't',
  þ: 'th',
  '’': "'",
  '‘': "'",
  '“': '"',
  '”': '"',
};
const LETTERS_ALIKE = new RegExp(`[${Object.keys(ALIKE).join('')}]`, 'gu');

/** Text without case, accents and what is not shown: as the server folds it, but for rare letters. */
export function fold(text: string): string {
  return text
    .normalize('NFKD')
    .replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '')
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .replace(/ς/g, 'σ')
    .replace(LETTERS_ALIKE, (letter) => ALIKE[letter]!)
    .replace(/[\p{Pd}\u2043\u2212\u02D7]/gu, '-')
    .replace(/\s+/gu, ' ')
    .trim();
}

/** What contacts are sorted by, as ListContacts does: given name, family name and company as one text. */
export function sortKeyOf({ givenName, familyName, company, middleName, nickname, emails, phones }: Contact): string {
  const name = fold(`${givenName} ${familyName} ${company}`) || fold(`${middleName} ${nickname}`);
  return name || (emails[0]?.address.toLowerCase() ?? phones[0]?.number ?? '');
}

/** Compares by code points, as databases do; UTF-16 would put what is beyond U+FFFF before U+E000. */
export function compareText(one: string, other: string): number {
  if (one === other) return 0;
  let i = 0;
  while (i < one.length && i < other.length && one.charCodeAt(i) === other.charCodeAt(i)) i += 1;
  const [a = 0, b = 0] = [one, other].map((text) => text.charCodeAt(i) || 0);
  const isSurrogate = (code: number) => code >= 0xd800 && code < 0xe000;
  return isSurrogate(a) === isSurrogate(b) ? a - b : isSurrogate(a) ? 1 : -1;
}

const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\u1100-\u115E]/u;

/** The fewest digits that find the inside of a phone number. */
const DIGITS_MIN = 4;

/** Tells which contacts a query finds: each of its words begins a word of the contact, in any order. */
export function matcherOf(query: string): (contact: Contact) => boolean {
  const words = fold(query)
    .split(' ')
    .filter((word) => word !== '');
  const digits = /^[0-9 +./()#-]*$/.test(query) ? query.replace(/\D/g, '').replace(/^00/, '') : '';
  return (contact) => {
    if (words.length === 0) return true;
    if (digits.length >= DIGITS_MIN && hasDigits(contact, digits)) return true;
    const text = ` ${textOf(contact)}`;
    return words.every((word) => (UNSPACED.test(word) ? text.includes(word) : beginsWord(text, word)));
  };
}

function hasDigits({ phones }: Contact, digits: string): boolean {
  return phones.some(({ number, e164 }) => [number, e164].some((text) => text.replace(/\D/g, '').includes(digits)));
}

function textOf(contact: Contact): string {
  const { givenName, middleName, familyName, nickname, company, emails, phones } = contact;
  const { phoneticGivenName, phoneticMiddleName, phoneticFamilyName } = contact;
  const names = [
    givenName,
    middleName,
    familyName,
    nickname,
    phoneticGivenName,
    phoneticMiddleName,
    phoneticFamilyName,
  ];
  const text = fold([...names, company, ...emails.map(({ address }) => address)].join(' '));
  // Words with hyphens and apostrophes are found without them as well.
  return `${text} ${text.replace(/(?<=\p{L})['-](?=\p{L})/gu, '')} ${phones.map(({ number }) => fold(number)).join(' ')}`;
}

function beginsWord(text: string, word: string): boolean {
  for (let i = text.indexOf(word); i >= 0; i = text.indexOf(word, i + 1)) {
    if (i === 0 || /[^\p{L}\p{N}]/u.test(text[i - 1]!) || !/^[\p{L}\p{N}]/u.test(word)) return true;
  }
  return false;
}
