import { ownOf } from '../../kernel/own.ts';

/** What kinds of entries are called in vCard, beside free text in X-ABLabel. */

/** Words of TYPE that say nothing of the kind of an entry. */
const SILENT = new Set(['pref', 'internet', 'voice', 'x400', 'postal', 'parcel', 'dom', 'intl', 'preferred']);

/** What Kith calls a kind, by the word of TYPE in lower case. */
const KINDS: Readonly<Record<string, string>> = { cell: 'mobile', iphone: 'iPhone', 'x-mobile': 'mobile' };

/** Of kinds that Kith writes as TYPE, the words of it. Every other kind is written as a label. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  home: ['HOME'],
  work: ['WORK'],
};
const PHONE_TYPES: Readonly<Record<string, readonly string[]>> = {
  ...TYPES,
  mobile: ['CELL'],
  fax: ['FAX'],
  pager: ['PAGER'],
  'home fax': ['HOME', 'FAX'],
  'work fax': ['WORK', 'FAX'],
  'home mobile': ['HOME', 'CELL'],
  'work mobile': ['WORK', 'CELL'],
};

/** The order of words in a kind: where, then what. */
const FIRST = new Set(['home', 'work']);

/** The kind that words of TYPE say; '' for none. */
export function kindOfTypes(types: readonly string[]): string {
  const words = types.map((type) => type.trim().toLowerCase()).filter((type) => type !== '' && !SILENT.has(type));
  const kinds = [...new Set(words.map((word) => ownOf(KINDS, word) ?? word.replace(/^x-/, '')))];
  return [...kinds.filter((kind) => FIRST.has(kind)), ...kinds.filter((kind) => !FIRST.has(kind))].join(' ');
}

/** The words of TYPE for a kind; undefined where it takes a label. */
export function typesOfKind(kind: string, isPhone: boolean): readonly string[] | undefined {
  const types = isPhone ? PHONE_TYPES : TYPES;
  return ownOf(types, kind);
}

/** What a label says: Apple wraps those that it translates, such as _$!<HomePage>!$_. */
export function kindOfLabel(label: string): string {
  const wrapped = /^_\$!<([^<>]*)>!\$_$/.exec(label)?.[1];
  return wrapped === undefined ? label : (ownOf(APPLE, wrapped) ?? wrapped.toLowerCase());
}

const APPLE: Readonly<Record<string, string>> = { HomePage: 'homepage', HomeFAX: 'home fax', WorkFAX: 'work fax' };

/** Kinds of relations that TYPE of RELATED names (RFC 6350, 6.6.6). */
export const RELATION_TYPES: ReadonlySet<string> = new Set(
  (
    'contact acquaintance friend met co-worker colleague co-resident neighbor child parent sibling spouse kin muse ' +
    'crush date sweetheart me agent emergency'
  ).split(' '),
);

/** Services of messengers by the scheme of their addresses, and the properties that others than vCard 4.0 have for them. */
export const SERVICE_OF_SCHEME: Readonly<Record<string, string>> = {
  aim: 'AIM',
  gg: 'Gadu-Gadu',
  icq: 'ICQ',
  msnim: 'MSN',
  sip: 'SIP',
  skype: 'Skype',
  xmpp: 'XMPP',
  ymsgr: 'Yahoo',
};

export const SERVICE_OF_PROPERTY: Readonly<Record<string, string>> = {
  'X-AIM': 'AIM',
  'X-GADUGADU': 'Gadu-Gadu',
  'X-GOOGLE-TALK': 'Google Talk',
  'X-GROUPWISE': 'GroupWise',
  'X-GTALK': 'Google Talk',
  'X-ICQ': 'ICQ',
  'X-JABBER': 'XMPP',
  'X-MATRIX': 'Matrix',
  'X-MSN': 'MSN',
  'X-MS-IMADDRESS': '',
  'X-QQ': 'QQ',
  'X-SIGNAL': 'Signal',
  'X-SIP': 'SIP',
  'X-SKYPE': 'Skype',
  'X-SKYPE-USERNAME': 'Skype',
  'X-TELEGRAM': 'Telegram',
  'X-TWITTER': 'Twitter',
  'X-YAHOO': 'Yahoo',
};

/** Relations that have properties of their own in vCard 2.1 and 3.0. */
export const RELATION_OF_PROPERTY: Readonly<Record<string, string>> = {
  'X-ANDROID-SPOUSE': 'spouse',
  'X-ASSISTANT': 'assistant',
  'X-EVOLUTION-ASSISTANT': 'assistant',
  'X-EVOLUTION-MANAGER': 'manager',
  'X-EVOLUTION-SPOUSE': 'spouse',
  'X-KADDRESSBOOK-X-ASSISTANTSNAME': 'assistant',
  'X-KADDRESSBOOK-X-MANAGERSNAME': 'manager',
  'X-KADDRESSBOOK-X-SPOUSESNAME': 'spouse',
  'X-MANAGER': 'manager',
  'X-MS-MANAGER': 'manager',
  'X-MS-ASSISTANT': 'assistant',
  'X-MS-SPOUSE': 'spouse',
  'X-SPOUSE': 'spouse',
};
