import { formatDate, type PartialDate } from '../../kernel/partial-date.ts';
import { type Card, displayName } from './card.ts';
import { RELATION_TYPES, SERVICE_OF_SCHEME, typesOfKind } from './card-types.ts';
import {
  type ContentLine,
  escapeText,
  foldLine,
  formatContentLine,
  isCardMark,
  type Parameter,
  parameter,
  parseContentLine,
} from './content-lines.ts';

export type VCardVersion = '3.0' | '4.0';

/** A card in vCard 3.0 (RFC 2426) or 4.0 (RFC 6350), in UTF-8, with lines of at most 75 bytes that end in CR LF. */
export function writeVCard(card: Card, version: VCardVersion): string {
  return new CardWriter(card, version).write();
}

/** What a card has but names and FN, as lines of vCard 4.0 without folding, with LF between them. See readProperties. */
export function writeProperties(card: Card): string {
  return new CardWriter(card, '4.0').writeProperties();
}

class CardWriter {
  readonly #card: Card;
  readonly #is4: boolean;
  readonly #lines: string[] = [];
  readonly #kept: readonly ContentLine[];
  readonly #groups: ReadonlySet<string>;
  #lastGroup = 0;

  constructor(card: Card, version: VCardVersion) {
    this.#card = card;
    this.#is4 = version === '4.0';
    this.#kept = card.properties.flatMap((line) => parseContentLine(line, 0) ?? []);
    this.#groups = new Set(this.#kept.map(({ group }) => group.toLowerCase()));
  }

  write(): string {
    this.#add('BEGIN', 'VCARD');
    this.#add('VERSION', this.#is4 ? '4.0' : '3.0');
    this.#writeNames();
    this.#writeOthers();
    this.#writePhoto();
    // What other formats have may be anything: here it would end the card, and begin one more.
    const kept = this.#kept.filter((each) => each.name !== 'FN' && !isCardMark(each));
    for (const each of kept) this.#lines.push(formatContentLine(each));
    this.#add('END', 'VCARD');
    return this.#lines.map(foldLine).join('');
  }

  writeProperties(): string {
    this.#writeOthers();
    return [...this.#lines, ...this.#kept.map(formatContentLine)].join('\n');
  }

  #writeOthers(): void {
    const card = this.#card;
    if (card.company !== '' || card.department !== '') {
      this.#add('ORG', structured(card.department === '' ? [card.company] : [card.company, card.department]));
    }
    this.#text('TITLE', card.jobTitle);
    for (const { address, type, primary } of card.emails) {
      const always = this.#is4 ? [] : ['INTERNET'];
      this.#entry('EMAIL', escapeText(address), { type, primary, always });
    }
    for (const { number, type, primary } of card.phones) {
      // Outlook leaves out a number without TYPE.
      const always = typesOfKind(type, true) === undefined ? ['VOICE'] : [];
      this.#entry('TEL', escapeText(number), { type, primary, always, isPhone: true });
    }
    for (const { street, city, region, postalCode, country, type, primary } of card.addresses) {
      this.#entry('ADR', structured(['', '', street, city, region, postalCode, country]), { type, primary });
    }
    for (const { url, type, primary } of card.urls) this.#entry('URL', escapeText(url), { type, primary });
    this.#writeDates();
    for (const { name, type } of card.relations) this.#writeRelation(name, type);
    for (const { handle, service, type } of card.messagingHandles) this.#writeHandle(handle, service, type);
    for (const language of card.languages) this.#add('LANG', escapeText(language));
    if (card.timeZone !== '') this.#add('TZ', escapeText(card.timeZone), { parameters: [AS_TEXT] });
    this.#text('PRONOUNS', card.pronouns);
    this.#text('NOTE', card.notes);
    for (const { label, value } of card.customFields) {
      this.#add('X-KITH-FIELD', escapeText(value), { label: label === '' ? undefined : label });
    }
    if (card.labels.length > 0) this.#add('CATEGORIES', card.labels.map(escapeText).join(','));
    if (card.starred) this.#add('X-KITH-STARRED', 'TRUE');
    this.#text('X-KITH-SOURCE', card.source);
    this.#text('UID', card.uid);
  }

  #writePhoto(): void {
    const { photo } = this.#card;
    if (photo === undefined) return;
    const base64 = Buffer.from(photo).toString('base64');
    if (this.#is4) this.#add('PHOTO', `data:image/jpeg;base64,${base64}`);
    else {
      const parameters = [
        { name: 'ENCODING', values: ['b'] },
        { name: 'TYPE', values: ['JPEG'] },
      ];
      this.#add('PHOTO', base64, { parameters });
    }
  }

  #writeNames(): void {
    const card = this.#card;
    const name = displayName(card);
    const kept = this.#kept.find((each) => each.name === 'FN' && parameter(each, 'X-KITH-NAME') === name);
    this.#add('FN', kept === undefined ? escapeText(name) : kept.value);
    const parts = [card.familyName, card.givenName, card.middleName, card.namePrefix, card.nameSuffix];
    if (!this.#is4 || parts.some((part) => part !== '')) this.#add('N', structured(parts));
    this.#text('NICKNAME', card.nickname);
    this.#text('X-PHONETIC-FIRST-NAME', card.phoneticGivenName);
    this.#text('X-PHONETIC-MIDDLE-NAME', card.phoneticMiddleName);
    this.#text('X-PHONETIC-LAST-NAME', card.phoneticFamilyName);
  }

  #writeDates(): void {
    const { birthday, dates } = this.#card;
    if (birthday !== undefined) this.#writeDate('BDAY', birthday, undefined);
    let isFirst = true;
    for (const { date, type } of dates) {
      const isAnniversary = type === 'anniversary';
      if (isAnniversary && isFirst && this.#is4) this.#writeDate('ANNIVERSARY', date, undefined);
      else this.#writeDate('X-ABDATE', date, isAnniversary ? '_$!<Anniversary>!$_' : type);
      if (isAnniversary) isFirst = false;
    }
  }

  #writeDate(name: string, date: PartialDate, label: string | undefined): void {
    const isApple = !this.#is4 && date.year === undefined && date.day !== undefined;
    this.#add(name, isApple ? formatDate({ ...date, year: 1604 }, '-') : formatDate(date, this.#is4 ? '' : '-'), {
      label: label === '' ? undefined : label,
      parameters: isApple ? [{ name: 'X-APPLE-OMIT-YEAR', values: ['1604'] }] : [],
    });
  }

  #writeRelation(name: string, type: string): void {
    const isKnown = RELATION_TYPES.has(type);
    const label = type === '' || (this.#is4 && isKnown) ? undefined : type;
    if (!this.#is4) {
      this.#add('X-ABRELATEDNAMES', escapeText(name), { label });
      return;
    }
    const types = isKnown ? [{ name: 'TYPE', values: [type] }] : [];
    this.#add('RELATED', escapeText(name), { label, parameters: [AS_TEXT, ...types] });
  }

  #writeHandle(handle: string, service: string, type: string): void {
    const scheme = Object.entries(SERVICE_OF_SCHEME).find(([, each]) => each === service)?.[0];
    const parameterName = this.#is4 ? 'SERVICE-TYPE' : 'X-SERVICE-TYPE';
    const named = service === '' ? [] : [{ name: parameterName, values: [service] }];
    const address = uriOfHandle(scheme ?? (service === '' ? 'im' : 'x-apple'), handle);
    this.#entry('IMPP', escapeText(address), { type, primary: false, parameters: named });
  }

  #text(name: string, text: string): void {
    if (text !== '') this.#add(name, escapeText(text));
  }

  /** An entry of a list: its kind as TYPE where vCard has a word for it, else as a label. */
  #entry(
    name: string,
    value: string,
    {
      type,
      primary,
      always = [],
      parameters = [],
      isPhone = false,
    }: {
      readonly type: string;
      readonly primary: boolean;
      readonly always?: readonly string[];
      readonly parameters?: readonly Parameter[];
      readonly isPhone?: boolean;
    },
  ): void {
    const types = typesOfKind(type, isPhone);
    const preferred = primary && !this.#is4 ? ['PREF'] : [];
    const words = [...always, ...(types ?? []), ...preferred].map((word) => (this.#is4 ? word.toLowerCase() : word));
    const all = [
      ...parameters,
      // One parameter for each word, which every reader of vCard 3.0 and 4.0 understands.
      ...words.map((word) => ({ name: 'TYPE', values: [word] })),
      ...(primary && this.#is4 ? [{ name: 'PREF', values: ['1'] }] : []),
    ];
    this.#add(name, value, { parameters: all, label: types === undefined && type !== '' ? type : undefined });
  }

  #add(
    name: string,
    value: string,
    {
      parameters = [],
      label,
    }: { readonly parameters?: readonly Parameter[]; readonly label?: string | undefined } = {},
  ): void {
    const group = label === undefined ? '' : this.#nextGroup();
    this.#lines.push(formatContentLine({ group, name, parameters, value }));
    if (label !== undefined) this.#lines.push(`${group}.X-ABLabel:${escapeText(label)}`);
  }

  /** A group that no kept property is in. */
  #nextGroup(): string {
    do this.#lastGroup++;
    while (this.#groups.has(`item${this.#lastGroup}`));
    return `item${this.#lastGroup}`;
  }
}

const AS_TEXT: Parameter = { name: 'VALUE', values: ['text'] };

/** The address of an account under the scheme of a service. */
export function uriOfHandle(scheme: string, handle: string): string {
  return `${scheme}:${encodeURIComponent(handle).replaceAll('%40', '@')}`;
}

function structured(parts: readonly string[]): string {
  return parts.map(escapeText).join(';');
}
