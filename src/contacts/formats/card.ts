import type { PartialDate } from '../../kernel/partial-date.ts';
import { isVisible, trimEnds } from '../../kernel/text.ts';

/** An entry of a list. At most one entry of a list is primary. */
interface Entry {
  readonly type: string;
  readonly primary: boolean;
}

export interface CardAddress extends Entry {
  readonly street: string;
  readonly city: string;
  readonly region: string;
  readonly postalCode: string;
  readonly country: string;
}

/** A contact as files carry it: the fields that a user sets, within the bounds of the contract. */
export interface Card {
  namePrefix: string;
  givenName: string;
  middleName: string;
  familyName: string;
  nameSuffix: string;
  nickname: string;
  phoneticGivenName: string;
  phoneticMiddleName: string;
  phoneticFamilyName: string;
  company: string;
  department: string;
  jobTitle: string;
  emails: readonly (Entry & { readonly address: string })[];
  phones: readonly (Entry & { readonly number: string })[];
  addresses: readonly CardAddress[];
  /** Web addresses as they are written, with a scheme or without. */
  urls: readonly (Entry & { readonly url: string })[];
  birthday: PartialDate | undefined;
  dates: readonly { readonly date: PartialDate; readonly type: string }[];
  relations: readonly { readonly name: string; readonly type: string }[];
  messagingHandles: readonly { readonly handle: string; readonly service: string; readonly type: string }[];
  customFields: readonly { readonly label: string; readonly value: string }[];
  languages: readonly string[];
  /** Names of labels. */
  labels: readonly string[];
  timeZone: string;
  pronouns: string;
  notes: string;
  starred: boolean;
  source: string;
  uid: string;
  /**
   * What no field holds, as content lines of vCard 4.0 (RFC 6350, 3.3) without folding, with its groups and parameters:
   * given back where the card is written. A name is in upper case.
   */
  properties: readonly string[];
  /** A picture as it stands in the file, or JPEG to be written. */
  photo: Uint8Array | undefined;
}

/** A text of a card. */
export type TextField = { [Name in keyof Card]: Card[Name] extends string ? Name : never }[keyof Card];

export const EMPTY_CARD: Card = {
  namePrefix: '',
  givenName: '',
  middleName: '',
  familyName: '',
  nameSuffix: '',
  nickname: '',
  phoneticGivenName: '',
  phoneticMiddleName: '',
  phoneticFamilyName: '',
  company: '',
  department: '',
  jobTitle: '',
  emails: [],
  phones: [],
  addresses: [],
  urls: [],
  birthday: undefined,
  dates: [],
  relations: [],
  messagingHandles: [],
  customFields: [],
  languages: [],
  labels: [],
  timeZone: '',
  pronouns: '',
  notes: '',
  starred: false,
  source: '',
  uid: '',
  properties: [],
  photo: undefined,
};

/** What was not taken as it stands in the file, and why. */
export interface CardNote {
  /** The line of the file, from 1. */
  readonly line: number;
  readonly text: string;
}

/** One contact of a file. */
export interface ReadCard {
  readonly card: Card;
  /** The line of the file that it begins on, from 1. */
  readonly line: number;
  readonly notes: readonly CardNote[];
  readonly photoLine?: number | undefined;
  /** Why nothing of it can be used; '' if it can. */
  readonly error: string;
}

/** Bounds of what is kept of properties that no field holds: of one, and of all of a card; UTF-16 code units. */
const PROPERTY_LENGTH_MAX = 4096;
const PROPERTIES_LENGTH_MAX = 16_384;
const PROPERTIES_MAX = 200;

/** How many notes a card has at the most: the last one says that there are more. */
const NOTES_MAX = 50;

/** How many entries a list of a contact has at the most, as in the contract; how many labels, and the most code points of their names. */
const ENTRIES_MAX = 20;
const LABELS_MAX = 100;
const LABEL_LENGTH = 100;
const TYPE_LENGTH = 64;

/** The most code points of texts, as in the contract. */
const LENGTHS: Readonly<Record<TextField, number>> = {
  namePrefix: 100,
  givenName: 200,
  middleName: 200,
  familyName: 200,
  nameSuffix: 100,
  nickname: 200,
  phoneticGivenName: 200,
  phoneticMiddleName: 200,
  phoneticFamilyName: 200,
  company: 200,
  department: 200,
  jobTitle: 200,
  timeZone: 64,
  pronouns: 64,
  notes: 10_000,
  source: 200,
  uid: 255,
};

/** What an address consists of, and the most code points of each part. */
const ADDRESS_LENGTHS = { street: 500, city: 200, region: 200, postalCode: 32, country: 100 } as const;

/** What may be added to a list of a card: each refuses what the contract refuses. */
interface Lists {
  emails: Card['emails'];
  phones: Card['phones'];
  addresses: Card['addresses'];
  urls: Card['urls'];
  dates: Card['dates'];
  relations: Card['relations'];
  messagingHandles: Card['messagingHandles'];
  customFields: Card['customFields'];
  languages: Card['languages'];
}

/**
 * Collects a card within the bounds of the contract. What does not fit is cut, which `notes` says, or refused: then it
 * is for the caller to keep it as a property.
 */
export class CardBuilder {
  readonly notes: CardNote[] = [];
  /** The line of the file that the photo stands on. */
  photoLine: number | undefined;
  readonly #card: Card = { ...EMPTY_CARD };
  readonly #lists: { [Name in keyof Lists]: Lists[Name][number][] } = {
    emails: [],
    phones: [],
    addresses: [],
    urls: [],
    dates: [],
    relations: [],
    messagingHandles: [],
    customFields: [],
    languages: [],
  };
  readonly #labels = new Set<string>();
  readonly #properties: string[] = [];
  #propertiesLength = 0;

  /** The card as it is by now. */
  get card(): Card {
    return { ...this.#card, ...this.#lists, labels: [...this.#labels], properties: this.#properties };
  }

  has(name: TextField | 'birthday'): boolean {
    return this.#card[name] !== '' && this.#card[name] !== undefined;
  }

  text(name: TextField): string {
    return this.#card[name];
  }

  /** Sets a text, without what the contract refuses in it. */
  setText(name: TextField, value: string, line: number): void {
    const clean = name === 'notes' ? cleanLines(value) : cleanLine(value);
    this.#card[name] = this.#cut(clean, LENGTHS[name], line, NAMES[name]);
  }

  setStarred(): void {
    this.#card.starred = true;
  }

  setBirthday(date: PartialDate): void {
    this.#card.birthday = date;
  }

  /** Sets the photo. Returns whether there was none. */
  setPhoto(photo: Uint8Array, line: number): boolean {
    if (this.#card.photo !== undefined) return false;
    this.#card.photo = photo;
    this.photoLine = line;
    return true;
  }

  /** Adds an email address. Returns whether it could be. */
  addEmail(address: string, type: string, primary: boolean, line: number): boolean {
    const clean = trimEnds(cleanLine(address));
    if (!clean.includes('@') || !isWithin(clean, 320)) return false;
    return this.#add('emails', { address: clean, type: this.#type(type, line), primary });
  }

  addPhone(number: string, type: string, primary: boolean, line: number): boolean {
    const clean = trimEnds(cleanLine(number));
    if (!isVisible(clean) || !isWithin(clean, 100)) return false;
    return this.#add('phones', { number: clean, type: this.#type(type, line), primary });
  }

  addUrl(url: string, type: string, primary: boolean, line: number): boolean {
    const clean = trimEnds(cleanLine(url));
    if (!isVisible(clean) || !isWithin(clean, 2048)) return false;
    return this.#add('urls', { url: clean, type: this.#type(type, line), primary });
  }

  addAddress(address: CardAddress, line: number): boolean {
    const part = (name: keyof typeof ADDRESS_LENGTHS) => {
      const clean = name === 'street' ? cleanLines(address[name]) : cleanLine(address[name]);
      return this.#cut(clean, ADDRESS_LENGTHS[name], line, 'address');
    };
    const cut = {
      street: part('street'),
      city: part('city'),
      region: part('region'),
      postalCode: part('postalCode'),
      country: part('country'),
      type: this.#type(address.type, line),
      primary: address.primary,
    };
    return isVisible(cut.street + cut.city + cut.region + cut.postalCode + cut.country) && this.#add('addresses', cut);
  }

  addDate(date: PartialDate, type: string, line: number): boolean {
    return this.#add('dates', { date, type: this.#type(type, line) });
  }

  addRelation(name: string, type: string, line: number): boolean {
    const clean = trimEnds(cleanLine(name));
    if (!isVisible(clean) || !isWithin(clean, 200)) return false;
    return this.#add('relations', { name: clean, type: this.#type(type, line) });
  }

  addMessagingHandle(handle: string, service: string, type: string, line: number): boolean {
    const clean = trimEnds(cleanLine(handle));
    if (!isVisible(clean) || !isWithin(clean, 320)) return false;
    return this.#add('messagingHandles', {
      handle: clean,
      service: this.#type(service, line),
      type: this.#type(type, line),
    });
  }

  addCustomField(label: string, value: string, line: number): boolean {
    const clean = trimEnds(cleanLines(value));
    if (!isVisible(clean) || !isWithin(clean, 2000)) return false;
    return this.#add('customFields', { label: this.#type(label, line), value: clean });
  }

  addLanguage(language: string): boolean {
    const clean = cleanLine(language);
    return isVisible(clean) && isWithin(clean, TYPE_LENGTH) && this.#add('languages', clean);
  }

  addLabel(name: string): boolean {
    const clean = trimEnds(cleanLine(name));
    if (!isVisible(clean) || !isWithin(clean, LABEL_LENGTH)) return false;
    if (this.#labels.size >= LABELS_MAX && !this.#labels.has(clean)) return false;
    this.#labels.add(clean);
    return true;
  }

  /** Keeps what no field holds, as a content line; notes when it is too long. */
  keep(written: string, line: number): void {
    const contentLine = cleanLine(written);
    const name = contentLine.slice(0, 40).split(/[;:]/, 1)[0]!;
    if (contentLine.length > PROPERTY_LENGTH_MAX) {
      this.note(line, `${name} is left out: it is longer than ${PROPERTY_LENGTH_MAX} characters`);
    } else if (
      this.#properties.length >= PROPERTIES_MAX ||
      this.#propertiesLength + contentLine.length > PROPERTIES_LENGTH_MAX
    ) {
      this.note(line, `${name} is left out: a contact has no room for more properties that no field holds`);
    } else {
      this.#properties.push(contentLine);
      this.#propertiesLength += contentLine.length;
    }
  }

  note(line: number, text: string): void {
    if (this.notes.length < NOTES_MAX) this.notes.push({ line, text });
    else if (this.notes.length === NOTES_MAX) this.notes.push({ line, text: 'more was left out or cut' });
  }

  #add<Name extends keyof Lists>(name: Name, item: Lists[Name][number]): boolean {
    const list = this.#lists[name];
    if (list.length >= ENTRIES_MAX) return false;
    const isSecondPrimary = typeof item === 'object' && 'primary' in item && item.primary && hasPrimary(list);
    list.push(isSecondPrimary ? { ...item, primary: false } : item);
    return true;
  }

  #type(type: string, line: number): string {
    return this.#cut(cleanLine(type), TYPE_LENGTH, line, 'type');
  }

  #cut(text: string, length: number, line: number, what: string): string {
    if (isWithin(text, length)) return text;
    this.note(line, `the ${what} is cut to ${length} characters`);
    let end = 0;
    for (let count = 0; count < length; count++) end += text.codePointAt(end)! > 0xffff ? 2 : 1;
    return text.slice(0, end);
  }
}

const NAMES: Readonly<Record<TextField, string>> = {
  namePrefix: 'name prefix',
  givenName: 'given name',
  middleName: 'middle name',
  familyName: 'family name',
  nameSuffix: 'name suffix',
  nickname: 'nickname',
  phoneticGivenName: 'phonetic given name',
  phoneticMiddleName: 'phonetic middle name',
  phoneticFamilyName: 'phonetic family name',
  company: 'company',
  department: 'department',
  jobTitle: 'job title',
  timeZone: 'time zone',
  pronouns: 'pronouns',
  notes: 'notes',
  source: 'source',
  uid: 'uid',
};

function hasPrimary(list: readonly unknown[]): boolean {
  return list.some((item) => (item as Entry).primary);
}

/** Whether a text has at most so many code points. */
function isWithin(text: string, codePoints: number): boolean {
  if (text.length <= codePoints) return true;
  if (text.length > codePoints * 2) return false;
  let count = 0;
  for (let i = 0; i < text.length; i += text.codePointAt(i)! > 0xffff ? 2 : 1) count++;
  return count <= codePoints;
}

/** One line of text as the contract takes it (kith.text.v1, `line`): ends of lines and tabs become blanks. */
export function cleanLine(text: string): string {
  if (PLAIN_LINE.test(text)) return text;
  return text.replaceAll(/[\r\n\t\u0085\u2028\u2029]+/g, ' ').replaceAll(REFUSED, '');
}

/** Text of several lines as the contract takes it (kith.text.v1, `lines`). */
function cleanLines(text: string): string {
  if (PLAIN_LINE.test(text)) return text;
  return text.replaceAll(/\r\n?|[\u0085\u2028\u2029]/g, '\n').replaceAll(REFUSED_IN_LINES, '');
}

const PLAIN_LINE = /^[ -~]*$/;
const REFUSED = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\uFFFD]/gu;
const REFUSED_IN_LINES = /(?![\n\t])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\uFFFD]/gu;

/** What the name of a card is made of. */
type NamedCard = Pick<
  Card,
  'namePrefix' | 'givenName' | 'middleName' | 'familyName' | 'nameSuffix' | 'nickname' | 'company' | 'emails' | 'phones'
>;

/** The text of a card's name as people read it; what stands for it where there is none; '' for an empty card. */
export function displayName(card: NamedCard): string {
  const names = [card.namePrefix, card.givenName, card.middleName, card.familyName, card.nameSuffix];
  const name = names.filter((part) => part !== '').join(' ');
  return name || card.nickname || card.company || (card.emails[0]?.address ?? card.phones[0]?.number ?? '');
}

/**
 * The parts of a name that is written as one: "Ada King Lovelace", or "Lovelace, Ada". Joined by blanks they are the
 * name again, but for the comma.
 */
export function splitName(name: string): { readonly givenName: string; readonly familyName: string } {
  const comma = /^([^,]+), ([^,]+)$/.exec(name);
  if (comma !== null) return { givenName: comma[2]!, familyName: comma[1]! };
  const blank = name.lastIndexOf(' ');
  if (blank <= 0 || blank === name.length - 1) return { givenName: name, familyName: '' };
  return { givenName: name.slice(0, blank), familyName: name.slice(blank + 1) };
}
