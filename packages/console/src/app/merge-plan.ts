import type { Contact, ContactDuplicate } from '@kith/client/contacts';
import {
  areSame,
  contactField,
  type Entry,
  entriesOf,
  FIELDS,
  type FieldName,
  UNITED,
  unite,
} from './contact-fields.ts';

/** One of two contacts that are to be merged. */
export type Side = 'first' | 'second';

/** What a merged contact has in a field: what one of the two has, or both. */
export type Choice = Side | 'both';

export interface Pair {
  readonly first: Contact;
  readonly second: Contact;
}

/** A field in which two contacts differ. */
export interface MergedField {
  readonly name: FieldName;
  /** What there is to choose from. */
  readonly options: readonly { readonly choice: Choice; readonly entries: readonly Entry[] }[];
  /** What a merge has without a choice. */
  readonly natural: Choice;
}

/** The pair of a page of duplicates; undefined where one of the two is missing, which no server sends. */
export function pairOf({ first, second }: ContactDuplicate): Pair | undefined {
  return first === undefined || second === undefined ? undefined : { first, second };
}

/** The fields in which two contacts differ, with what there is to choose from when `kept` stays. */
export function differingFields({ first, second }: Pair, kept: Side): readonly MergedField[] {
  return FIELDS.flatMap((name): MergedField[] => {
    const entries = { first: entriesOf(first, name), second: entriesOf(second, name) };
    if (areSame(entries.first, entries.second)) return [];
    const isOneSided = entries.first.length === 0 || entries.second.length === 0;
    const own = [
      { choice: 'first', entries: entries.first },
      { choice: 'second', entries: entries.second },
    ] as const;
    if (isOneSided) return [{ name, options: own, natural: entries.first.length > 0 ? 'first' : 'second' }];
    if (!UNITED.has(name)) return [{ name, options: own, natural: kept }];
    const both = {
      choice: 'both',
      entries: unite(entries[kept], entries[kept === 'first' ? 'second' : 'first']),
    } as const;
    return [{ name, options: [...own, both], natural: 'both' }];
  });
}

/** The fields that two contacts have alike, where there is something. */
export function sameFields({ first, second }: Pair): readonly FieldName[] {
  return FIELDS.filter((name) => {
    const entries = entriesOf(first, name);
    return entries.length > 0 && areSame(entries, entriesOf(second, name));
  });
}

/** The request that merges the two, with what was chosen other than it would come by itself. */
export function mergeRequest(pair: Pair, kept: Side, chosen: ReadonlyMap<FieldName, Choice>) {
  const choices = differingFields(pair, kept).flatMap(({ name, natural }) => {
    const choice = chosen.get(name) ?? natural;
    return choice === natural || choice === 'both' ? [] : [{ field: contactField(name), contactId: pair[choice].id }];
  });
  return {
    contacts: [pair.first, pair.second].map(({ id, etag }) => ({ contactId: id, etag })),
    keptContactId: pair[kept].id,
    preferKept: true,
    choices,
  };
}
