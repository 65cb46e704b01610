import { fold } from '../kernel/text.ts';
import { type ContactFields, NO_FIELDS, type Phone } from './contact.ts';
import { emailKey } from './match.ts';
import { nationalDigitsOf } from './phone-number.ts';
import { LABELS_PER_CONTACT_MAX } from './terms.ts';

export type FieldName = keyof ContactFields;

/** What is returned where values differ and somebody has to choose. */
const UNDECIDED = Symbol('undecided');

/** How a field of several contacts becomes that of one, and how that is taken back. */
interface Rule<Value> {
  /** `values` are in the order of the contacts, that of the one which stays first. */
  readonly merge: (values: readonly Value[]) => Value | typeof UNDECIDED;
  /** The value after a merge is taken back: `after` is what the merge made of `before`, `now` what has become of it since. */
  readonly unmerge: (before: Value, after: Value, now: Value) => Value;
  /** Whether a value is one that a contact may have. */
  readonly limit?: { readonly max: number; readonly sizeOf: (value: Value) => number };
}

/** What was changed since stays with the contact that stays. */
function keepChange<Value>(before: Value, after: Value, now: Value): Value {
  return isSame(after, now) ? before : now;
}

/** Different values are not decided on here. */
function one<Value>(empty: Value): Rule<Value> {
  return {
    merge(values) {
      const [first, ...others] = values.filter((value) => !isSame(value, empty));
      if (first === undefined) return empty;
      return others.every((value) => isSame(value, first)) ? first : UNDECIDED;
    },
    unmerge: keepChange,
  };
}

/** What identifies a contact elsewhere is no part of what is known of it, and does not pass to another one. */
const OWN: Rule<string> = { merge: ([own = '']) => own, unmerge: keepChange };

const FIRST: Rule<string> = { merge: (values) => values.find((value) => value !== '') ?? '', unmerge: keepChange };

const EITHER: Rule<boolean> = { merge: (values) => values.includes(true), unmerge: keepChange };

/** One below the other, without those that another one has in it as whole paragraphs. */
const TEXTS: Rule<string> = {
  merge(values) {
    const texts = [...new Set(values.filter((value) => value !== ''))];
    const isWithin = (text: string, other: string) => `\n\n${other}\n\n`.includes(`\n\n${text}\n\n`);
    return texts.filter((text) => !texts.some((other) => other !== text && isWithin(text, other))).join('\n\n');
  },
  unmerge: keepChange,
  limit: { max: 10_000, sizeOf: (text) => Array.from(text).length },
};

interface Typed {
  readonly type?: string;
  readonly primary?: boolean;
}

/**
 * A list of all entries, each once. Entries with the same key are the same unless they have different types; one without
 * a type gets that of the other.
 */
function list<Item>(max: number, keyOf: (item: Item) => string): Rule<readonly Item[]> {
  const typeOf = (item: Item) => (item as Typed).type ?? '';
  const isAlike = (a: Item, b: Item) =>
    keyOf(a) === keyOf(b) && (typeOf(a) === typeOf(b) || typeOf(a) === '' || typeOf(b) === '');
  const unite = (lists: readonly (readonly Item[])[]) => {
    const [own = [], ...others] = lists;
    const united = [...own];
    for (const item of others.flat()) {
      const place = united.findIndex((present) => isAlike(present, item));
      if (place < 0) united.push(item);
      else if (typeOf(united[place]!) === '' && typeOf(item) !== '')
        united[place] = { ...united[place]!, type: typeOf(item) };
    }
    return onePrimary(united);
  };
  return {
    merge: unite,
    unmerge(before, after, now) {
      if (isSame(after, now)) return before;
      const isIn = (items: readonly Item[], item: Item) =>
        items.some((each) => isSame(asWritten(each), asWritten(item)));
      const removed = after.filter((item) => !isIn(now, item));
      const added = now.filter((item) => !isIn(after, item));
      const kept = before.filter((item) => !removed.some((each) => isAlike(each, item)));
      const placeOf = (item: Item) => {
        const place = now.findIndex((each) => isAlike(each, item));
        return place < 0 ? now.length : place;
      };
      // One that is primary now stays so where it was not before.
      const chosen = now.find((item) => (item as Typed).primary === true);
      const wasChosen = after.find((item) => (item as Typed).primary === true);
      const isChosenAnew = chosen !== undefined && wasChosen !== undefined && !isAlike(chosen, wasChosen);
      const all = [...kept, ...added.filter((item) => !isIn(kept, item))];
      return onePrimary(
        all
          .map((item) => (isChosenAnew ? { ...item, primary: isAlike(item, chosen) } : item))
          .toSorted((a, b) => placeOf(a) - placeOf(b)),
      );
    },
    limit: { max, sizeOf: (items) => items.length },
  };
}

/** At most one entry is primary: the first that is. */
function onePrimary<Item>(items: readonly Item[]): Item[] {
  const primary = items.findIndex((item) => (item as Typed).primary === true);
  return items.map((item, i) =>
    (item as Typed).primary === true && i !== primary ? { ...item, primary: false } : item,
  );
}

/** An entry without what says how it is used or was read. */
function asWritten(item: unknown): unknown {
  return typeof item === 'object' ? { ...item, primary: undefined, e164: undefined } : item;
}

/** The most entries of a list, as in the contract. */
const ENTRIES_MAX = 20;

/** Bounds of what no field holds: see formats/card.ts. Lines, and the length of all. */
const PROPERTIES_MAX = 200;
const PROPERTIES_LENGTH_MAX = 16_384;

/** What no field holds, as content lines of vCard: lines of one group (RFC 6350, 3.3) belong together, and get another where theirs is taken. */
const PROPERTIES: Rule<readonly string[]> = {
  merge(values) {
    const [own = [], ...others] = values;
    const lines = [...own];
    for (const other of others) {
      const present = [...groupsOf(lines).values()].map(contentOf);
      for (const [group, members] of groupsOf(other)) {
        if (group === '') lines.push(...members.filter((line) => !lines.includes(line)));
        else if (!present.includes(contentOf(members))) lines.push(...inFreeGroup(group, members, lines));
      }
    }
    return lines;
  },
  unmerge(before, after, now) {
    if (isSame(after, now)) return before;
    const kept = before.filter((line) => now.includes(line) || !after.includes(line));
    return [...kept, ...now.filter((line) => !after.includes(line) && !kept.includes(line))];
  },
  limit: {
    max: PROPERTIES_LENGTH_MAX,
    // As if each line were at least as long as an even share.
    sizeOf: (lines) => (lines.length > PROPERTIES_MAX ? Infinity : lines.reduce((sum, { length }) => sum + length, 0)),
  },
};

const GROUP = /^([A-Za-z0-9-]+)\./;

/** Lines by their groups in lower case; those without one under ''. */
function groupsOf(lines: readonly string[]): Map<string, string[]> {
  return Map.groupBy(lines, (line) => GROUP.exec(line)?.[1]?.toLowerCase() ?? '');
}

function contentOf(members: readonly string[]): string {
  return JSON.stringify(members.map((line) => line.replace(GROUP, '')).toSorted());
}

function inFreeGroup(group: string, members: readonly string[], lines: readonly string[]): string[] {
  const taken = groupsOf(lines);
  if (!taken.has(group)) return [...members];
  let number = 1;
  while (taken.has(`item${number}`)) number++;
  return members.map((line) => line.replace(GROUP, `item${number}.`));
}

const text = one('');

/** Every field: a new one that nobody thought of here does not compile. */
const RULES: { readonly [Name in FieldName]: Rule<ContactFields[Name]> } = {
  namePrefix: text,
  givenName: text,
  middleName: text,
  familyName: text,
  nameSuffix: text,
  nickname: text,
  phoneticGivenName: text,
  phoneticMiddleName: text,
  phoneticFamilyName: text,
  company: text,
  department: text,
  jobTitle: text,
  timeZone: text,
  pronouns: text,
  birthday: one<ContactFields['birthday']>(undefined),
  photoId: text,
  starred: EITHER,
  notes: TEXTS,
  source: FIRST,
  uid: OWN,
  emails: list(ENTRIES_MAX, ({ address }) => emailKey(address)),
  phones: list(ENTRIES_MAX, phoneKey),
  addresses: list(ENTRIES_MAX, ({ street, city, region, postalCode, country }) =>
    JSON.stringify([street, city, region, postalCode, country]),
  ),
  urls: list(ENTRIES_MAX, ({ url, text: written = '' }) => url || written),
  dates: list(ENTRIES_MAX, ({ date }) => JSON.stringify(date)),
  relations: list(ENTRIES_MAX, ({ name }) => name),
  messagingHandles: list(ENTRIES_MAX, ({ handle, service }) => JSON.stringify([handle, service])),
  customFields: list(ENTRIES_MAX, ({ label, value }) => JSON.stringify([label, value])),
  languages: list(ENTRIES_MAX, (language) => language),
  labelIds: list(LABELS_PER_CONTACT_MAX, (id) => id),
  properties: PROPERTIES,
};

const NAMES = Object.keys(RULES) as readonly FieldName[];

/** A field that would be larger than that of a contact may be. */
export interface TooLarge {
  readonly tooLarge: FieldName;
  readonly limit: number;
}

/** Fields of which the contacts have different values, and none is chosen. */
export interface Undecided {
  readonly undecided: readonly FieldName[];
}

/** For some fields, the place of the contact whose value stands. */
export type Choices = ReadonlyMap<FieldName, number>;

/**
 * The fields of several contacts, of which the first one stays, as those of one: lists are united, and of other fields
 * the one value stands that there is. Where values differ and none is chosen, the first that is set stands (`prefersOwn`),
 * or none does.
 */
export function mergeFields(
  contacts: readonly ContactFields[],
  { choices, prefersOwn }: { readonly choices: Choices; readonly prefersOwn: boolean },
): { readonly fields: ContactFields } | Undecided | TooLarge {
  const merged: Record<string, unknown> = {};
  const undecided: FieldName[] = [];
  for (const name of NAMES) {
    const choice = choices.get(name);
    const values = contacts.map((contact) => contact[name]);
    const value = choice === undefined ? ruleOf(name).merge(values) : values[choice];
    merged[name] = value === UNDECIDED ? values.find((each) => !isSame(each, NO_FIELDS[name])) : value;
    if (value === UNDECIDED && !prefersOwn) undecided.push(name);
  }
  return undecided.length > 0 ? { undecided } : withinLimits(merged as ContactFields);
}

/**
 * The fields of a contact after a merge into it is taken back. `after` is what the merge made of `before`, and `now` what
 * has become of it since: what was changed since stays.
 */
export function unmergeFields(
  before: ContactFields,
  after: ContactFields,
  now: ContactFields,
): { readonly fields: ContactFields } | TooLarge {
  const fields = Object.fromEntries(
    NAMES.map((name) => [name, ruleOf(name).unmerge(before[name], after[name], now[name])]),
  );
  return withinLimits(fields as unknown as ContactFields);
}

function withinLimits(fields: ContactFields): { readonly fields: ContactFields } | TooLarge {
  for (const name of NAMES) {
    const { limit } = ruleOf(name);
    if (limit !== undefined && limit.sizeOf(fields[name]) > limit.max) return { tooLarge: name, limit: limit.max };
  }
  return { fields };
}

/** Each rule is for the values of its own field, which a type cannot say of all of them. */
function ruleOf(name: FieldName): Rule<unknown> {
  return RULES[name] as unknown as Rule<unknown>;
}

/**
 * What makes two numbers the same: E.164, if the number has no digits or words beside it, such as an extension; or else
 * what is written.
 */
function phoneKey({ number, e164 = '' }: Phone): string {
  const plain = fold(number);
  const digits = plain.replaceAll(/\D/g, '');
  const international = e164.slice(1);
  const isAll = [international, `00${international}`, nationalDigitsOf(e164)].includes(digits);
  return e164 !== '' && isAll && !/\p{L}/u.test(plain) ? e164 : plain;
}

/** Whether values are the same as they are stored. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The names of the fields in which two contacts differ. */
export function differingFields(a: ContactFields, b: ContactFields): ReadonlySet<FieldName> {
  const valueOf = (fields: ContactFields, name: FieldName) =>
    name === 'phones' ? fields.phones.map((phone) => ({ ...phone, e164: undefined })) : fields[name];
  return new Set(NAMES.filter((name) => !isSame(valueOf(a, name), valueOf(b, name))));
}
