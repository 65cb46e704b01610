import { ownOf } from '../../kernel/own.ts';
import { cleanLine } from './card.ts';
import {
  type ContentLine,
  escapeText,
  formatContentLine,
  type Parameter,
  parseContentLine,
  splitValue,
  unescapeText,
} from './content-lines.ts';
import { isSameJson, type Json, JsonNumber, jsonObject, JsonObject } from './json-values.ts';

/** What JSContact (RFC 9553) and properties of vCard that no field holds are to one another (RFC 9555). */

/** An entry of a list of JSContact, or a value (`id` is undefined); `list` has the names that lead to it. */
export interface Placed {
  readonly list: string;
  readonly id: string | undefined;
  readonly value: Json;
}

/** Ids of entries that have none elsewhere: they are given anew wherever they are written. */
export const OWN_ID = /^kith\d+$/;

/** A kind of resource: an entry of a list that is one property of vCard. */
interface Resource {
  readonly list: string;
  readonly kind?: string;
  readonly property: string;
  /** The name of the value in the entry. */
  readonly value: string;
}

const RESOURCES: readonly Resource[] = [
  { list: 'nicknames', property: 'NICKNAME', value: 'name' },
  { list: 'organizations', property: 'ORG', value: 'name' },
  { list: 'titles', property: 'TITLE', value: 'name' },
  { list: 'titles', kind: 'role', property: 'ROLE', value: 'name' },
  { list: 'calendars', kind: 'calendar', property: 'CALURI', value: 'uri' },
  { list: 'calendars', kind: 'freeBusy', property: 'FBURL', value: 'uri' },
  { list: 'schedulingAddresses', property: 'CALADRURI', value: 'uri' },
  { list: 'cryptoKeys', property: 'KEY', value: 'uri' },
  { list: 'directories', kind: 'entry', property: 'SOURCE', value: 'uri' },
  { list: 'directories', kind: 'directory', property: 'ORG-DIRECTORY', value: 'uri' },
  { list: 'links', kind: 'contact', property: 'CONTACT-URI', value: 'uri' },
  { list: 'media', kind: 'photo', property: 'PHOTO', value: 'uri' },
  { list: 'media', kind: 'sound', property: 'SOUND', value: 'uri' },
  { list: 'media', kind: 'logo', property: 'LOGO', value: 'uri' },
  { list: 'notes', property: 'NOTE', value: 'note' },
  { list: 'personalInfo', kind: 'expertise', property: 'EXPERTISE', value: 'value' },
  { list: 'personalInfo', kind: 'hobby', property: 'HOBBY', value: 'value' },
  { list: 'personalInfo', kind: 'interest', property: 'INTEREST', value: 'value' },
  { list: 'speakToAs/pronouns', property: 'PRONOUNS', value: 'pronouns' },
];

const CONTEXTS: Readonly<Record<string, string>> = { private: 'home', work: 'work' };

/** What LEVEL says of expertise (RFC 6715, 3.2) where JSContact has one scale for all. */
const EXPERTISE: Readonly<Record<string, string>> = { low: 'beginner', medium: 'average', high: 'expert' };

/** Properties that are values of the card itself. */
const SINGLE: Readonly<Record<string, string>> = {
  KIND: 'kind',
  LANGUAGE: 'language',
  GRAMGENDER: 'speakToAs/grammaticalGender',
};

/** The property of vCard that an entry is; undefined where none says all that the entry has. */
export function lineOf(place: Placed): string | undefined {
  const line = composeLine(place);
  // What no contact may have would be left out of it.
  if (line === undefined || cleanLine(line) !== line) return undefined;
  const parsed = parseContentLine(line, 0);
  const back = parsed && placeOf(parsed);
  const isSame =
    back !== undefined &&
    back.list === place.list &&
    back.id === ownless(place.id) &&
    isSameJson(back.value, place.value);
  return isSame ? line : undefined;
}

/** The entry that a property of vCard is; undefined where none says all that the property has. */
export function entryOf(line: ContentLine): Placed | undefined {
  const place = placeOf(line);
  return place !== undefined && composeLine(place) === formatContentLine(line) ? place : undefined;
}

const ownless = (id: string | undefined) => (id === undefined || OWN_ID.test(id) ? undefined : id);

function composeLine({ list, id, value }: Placed): string | undefined {
  const single = Object.keys(SINGLE).find((name) => SINGLE[name] === list);
  if (single !== undefined) return typeof value === 'string' ? `${single}:${escapeText(value)}` : undefined;
  if (list === 'created') {
    if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value)) return undefined;
    return `CREATED:${value.replaceAll(/[:-]/g, '')}`;
  }
  if (list === 'members') return value === true && id !== undefined ? `MEMBER:${id}` : undefined;
  if (!(value instanceof JsonObject)) return undefined;
  if (list === 'relatedTo') {
    const types = Object.keys(flagsOf(value.get('relation')) ?? {});
    const parameters = types.length === 0 ? [] : [{ name: 'TYPE', values: types }];
    return id !== undefined && HAS_SCHEME.test(id)
      ? formatContentLine({ name: 'RELATED', parameters, value: id })
      : undefined;
  }
  const kind = value.get('kind');
  const resource = RESOURCES.find((each) => each.list === list && each.kind === kind);
  const main = resource && value.get(resource.value);
  if (resource === undefined || typeof main !== 'string') return undefined;
  const parameters: Parameter[] = [];
  const add = (name: string, ...values: readonly (string | undefined)[]) => {
    const given = values.filter((each) => each !== undefined);
    if (given.length > 0) parameters.push({ name, values: given });
  };
  add('PROP-ID', ownless(id));
  add('TYPE', ...Object.keys(flagsOf(value.get('contexts')) ?? {}).map((context) => ownOf(CONTEXTS, context)));
  const [mediaType, level, pref] = ['mediaType', 'level', 'pref'].map((name) => value.get(name));
  if (typeof mediaType === 'string') add('MEDIATYPE', mediaType);
  if (typeof level === 'string') add('LEVEL', kind === 'expertise' ? ownOf(EXPERTISE, level) : level);
  if (pref instanceof JsonNumber) add('PREF', pref.text);
  return formatContentLine({ name: resource.property, parameters, value: composeValue(resource, main, value) });
}

function composeValue({ property, value }: Resource, main: string, entry: JsonObject): string {
  if (value === 'uri') return main;
  if (property !== 'ORG') return escapeText(main);
  const units = entry.get('units');
  const names = Array.isArray(units)
    ? units.map((unit: Json) => (unit instanceof JsonObject ? unit.get('name') : ''))
    : [];
  return [main, ...names].map((name) => escapeText(typeof name === 'string' ? name : '')).join(';');
}

function placeOf({ group, name, parameters, value }: ContentLine): Placed | undefined {
  if (group !== '') return undefined;
  if (parameters.length === 0) {
    const list = ownOf(SINGLE, name);
    if (list !== undefined) return { list, id: undefined, value: unescapeText(value) };
    if (name === 'MEMBER') return { list: 'members', id: value, value: true };
    const time = name === 'CREATED' && /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(value);
    if (time) {
      const [, year, month, day, hours, minutes, seconds] = time;
      const created = `${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`;
      return { list: 'created', id: undefined, value: created };
    }
  }
  if (name === 'RELATED' && HAS_SCHEME.test(value)) {
    const types = parameters.every((each) => each.name === 'TYPE')
      ? parameters.flatMap(({ values }) => values)
      : undefined;
    const relation = types && jsonObject(Object.fromEntries(types.map((type) => [type, true])));
    return relation && { list: 'relatedTo', id: value, value: jsonObject({ relation }) };
  }
  const resource = RESOURCES.find(({ property }) => property === name);
  if (resource === undefined) return undefined;
  const entry = jsonObject({ kind: resource.kind });
  let id: string | undefined;
  for (const each of parameters) {
    const [first = '', ...others] = each.values;
    if (each.name === 'TYPE') {
      const contexts = each.values.map((type) => Object.keys(CONTEXTS).find((context) => CONTEXTS[context] === type));
      if (contexts.includes(undefined)) return undefined;
      entry.set('contexts', jsonObject(Object.fromEntries(contexts.map((context) => [context, true]))));
    } else if (others.length > 0 || first === '') return undefined;
    else if (each.name === 'PROP-ID' && !OWN_ID.test(first)) id = first;
    else if (each.name === 'MEDIATYPE') entry.set('mediaType', first);
    else if (each.name === 'PREF' && /^[1-9]\d?$|^100$/.test(first)) entry.set('pref', new JsonNumber(first));
    else if (each.name === 'LEVEL') {
      const level = Object.keys(EXPERTISE).find((of) => (resource.kind === 'expertise' ? EXPERTISE[of] : of) === first);
      if (level === undefined) return undefined;
      entry.set('level', level);
    } else return undefined;
  }
  if (resource.value === 'uri') {
    if (!HAS_SCHEME.test(value)) return undefined;
    entry.set('uri', value);
  } else if (name === 'ORG') {
    const [main = '', ...units] = splitValue(value, false).map(([part = '']) => part);
    entry.set('name', main);
    if (units.length > 0)
      entry.set(
        'units',
        units.map((unit) => jsonObject({ name: unit })),
      );
  } else entry.set(resource.value, unescapeText(value));
  return { list: resource.list, id, value: entry };
}

const HAS_SCHEME = /^[a-z][a-z0-9+.-]*:/i;

/** The names of an object that says `true` of each; undefined for anything else. */
export function flagsOf(value: Json | undefined): Readonly<Record<string, true>> | undefined {
  if (!(value instanceof JsonObject)) return undefined;
  const flags = [...value].filter(([name]) => name !== '@type');
  return flags.every(([, flag]) => flag === true)
    ? (Object.fromEntries(flags.map(([name]) => [name, true])) as Record<string, true>)
    : undefined;
}

/** Properties whose values are text unless VALUE says otherwise. */
const TEXTS = new Set(
  (
    'CALSCALE CLASS EXPERTISE FN HOBBY INTEREST JSPROP LABEL MAILER NICKNAME NOTE PRODID PROFILE PRONOUNS ROLE ' +
    'SORT-STRING TEL TITLE TZ EMAIL'
  ).split(' '),
);

/** A property as `vCardProps` has it: as in jCard (RFC 7095, 3.3), of which a reader makes the same property again. */
export function toJCard({ group, name, parameters, value }: ContentLine): Json {
  const type = parameters.find((each) => each.name === 'VALUE')?.values[0]?.toLowerCase();
  const isText = (type ?? (TEXTS.has(name) ? 'text' : '')) === 'text' && escapeText(unescapeText(value)) === value;
  const rest = new JsonObject();
  if (group !== '') rest.set('group', group);
  for (const each of parameters) {
    if (each.name === 'VALUE' && (isText || type !== 'text')) continue;
    const before = rest.get(each.name.toLowerCase());
    const values = [...(typeof before === 'string' ? [before] : Array.isArray(before) ? before : []), ...each.values];
    rest.set(each.name.toLowerCase(), values.length === 1 ? values[0]! : values);
  }
  if (isText) return [name.toLowerCase(), rest, 'text', unescapeText(value)];
  return [name.toLowerCase(), rest, type === undefined || type === 'text' ? 'unknown' : type, value];
}

/** The property of an entry of `vCardProps`; undefined if it is none. */
export function fromJCard(entry: Json): string | undefined {
  if (!Array.isArray(entry)) return undefined;
  const [name, given, type, ...values] = entry as Json[];
  if (typeof name !== 'string' || !(given instanceof JsonObject) || typeof type !== 'string') return undefined;
  const property = name.toUpperCase();
  if (!/^[A-Z0-9_/-]{1,100}$/.test(property) || values.length === 0) return undefined;
  const parameters: Parameter[] = [];
  let group = '';
  for (const [key, value] of given) {
    const texts = (Array.isArray(value) ? (value as Json[]) : [value]).map(plainText);
    if (key.toLowerCase() === 'group') group = texts[0] ?? '';
    else if (/^[A-Za-z0-9-]{1,100}$/.test(key) && texts.length > 0) {
      parameters.push({ name: key.toUpperCase(), values: texts });
    } else return undefined;
  }
  if (!/^[A-Za-z0-9-]{0,100}$/.test(group)) return undefined;
  const implied = TEXTS.has(property) ? 'text' : 'unknown';
  if (type !== implied && type !== 'unknown' && /^[a-z0-9-]{1,100}$/i.test(type)) {
    parameters.unshift({ name: 'VALUE', values: [type] });
  }
  // What is of no known type stands as it does in vCard.
  const write = (value: Json) => {
    const text = plainText(value);
    return type === 'unknown' || type === 'uri' ? text.replaceAll(/\r\n?|\n/g, '\\n') : escapeText(text);
  };
  const written = values.map((value) =>
    Array.isArray(value)
      ? (value as Json[]).map((part) => (Array.isArray(part) ? part.map(write).join(',') : write(part))).join(';')
      : write(value),
  );
  return formatContentLine({ group, name: property, parameters, value: written.join(',') });
}

function plainText(value: Json): string {
  if (value instanceof JsonNumber) return value.text;
  return typeof value === 'string' ? value : typeof value === 'boolean' ? String(value).toUpperCase() : '';
}
