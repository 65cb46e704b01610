import { clone } from '@bufbuild/protobuf';
import {
  changedFields,
  type ContactFieldName,
  type ContactFields,
  fieldsOf,
  threeWay,
  withFields,
} from './contact-fields.ts';
import { type Change, type ContactRecord, nextStep, UID_PREFIX, uidOf, viewOf } from './contact-record.ts';
import type { Step } from './contacts-copy.ts';
import { type Contact, ContactSchema } from './gen/kith/contact/v1/contact_pb.ts';
import { randomUuid } from './uuid.ts';

/** Two changes of one contact that contradict each other. */
export interface ContactConflict {
  readonly id: string;
  /** What both began with. */
  readonly base: Contact;
  /** What was made of it here; undefined: deleted. */
  readonly mine: Contact | undefined;
  /** What the server has; undefined: deleted, or merged into another contact. Where that is in the copy, it is that one. */
  readonly theirs: Contact | undefined;
  /** The contact that it was merged into elsewhere. */
  readonly mergedInto: string | undefined;
  /** The fields in which mine and theirs contradict each other; where one side deleted it, those that the other one changed. */
  readonly fields: readonly ContactFieldName[];
}

/**
 * How a conflict is settled: what was done here counts, or what was done elsewhere, or these fields, or it is left for
 * later (`resolve`). Fields that one side alone changed are kept in any case, unless the contact is deleted. Where it was
 * deleted elsewhere, `mine` and `merged` bring it back; where it was merged into another one, they change that one.
 */
export type ConflictResolution = 'mine' | 'theirs' | 'later' | { readonly merged: ContactFields };

/** The conflict of a record; undefined where there is none. */
export function conflictOf(
  record: ContactRecord,
  find: (id: string) => ContactRecord | undefined,
): ContactConflict | undefined {
  const { id, change, theirs, mergedInto, answered } = record;
  if (change === undefined || change.base === undefined || answered !== undefined || change.refused !== undefined)
    return undefined;
  const step = nextStep(record, change);
  if (step.kind !== 'conflict') return undefined;
  const target = mergedInto === undefined ? undefined : find(mergedInto);
  const { base, mine } = change;
  const shown = theirs ?? (target && viewOf(target));
  const fields = mine === undefined && shown !== undefined ? changedFields(base, shown) : step.fields;
  return { id, base, mine, theirs: shown, mergedInto, fields };
}

/** What a conflict was told with, to tell whether it is still the same. */
export function isSameConflict(one: ContactConflict, other: ContactConflict | undefined): boolean {
  if (other === undefined || one.theirs?.etag !== other.theirs?.etag || one.mergedInto !== other.mergedInto)
    return false;
  if (one.mine === undefined || other.mine === undefined) return one.mine === other.mine;
  return changedFields(one.mine, other.mine).length === 0;
}

/** Settles the conflict of a record in a step that has the record, and the one that it was merged into. */
export function settle(step: Step, conflict: ContactConflict, how: ConflictResolution): void {
  const record = step.records.get(conflict.id)!;
  const change = record.change!;
  const { mine, mergedInto } = conflict;
  const base = change.base!;
  const { theirs } = record;
  const put = (settled: Partial<Change> | undefined) =>
    step.put({
      ...record,
      change: settled && { ...change, conflict: undefined, ...settled },
      mergedInto: undefined,
    });
  if (how === 'later') {
    step.put({ ...record, change: { ...change, conflict: { etag: theirs?.etag ?? '' } } });
    return;
  }
  const given = typeof how === 'object' ? how.merged : {};
  if (theirs === undefined && mergedInto !== undefined) {
    const target = step.records.get(mergedInto);
    const view = target && viewOf(target);
    if (how === 'theirs') return put(undefined);
    if (target === undefined || view === undefined) {
      // Nothing is left to change: a contact of its own again.
      const left = how === 'mine' ? mine : withFields(mine ?? base, given);
      return left === undefined ? put(undefined) : createAnew(step, record, left);
    }
    const own = mine === undefined ? {} : fieldsOf(mine, changedFields(base, mine));
    const changed = mine === undefined && how === 'mine' ? undefined : withFields(view, { ...own, ...given });
    const began = target.change ?? {
      order: change.order,
      base: target.answered === undefined ? target.theirs : target.answered.contact,
    };
    step.put({ ...target, change: { ...began, mine: changed, refused: undefined } });
    return put(undefined);
  }
  if (theirs === undefined) {
    if (how === 'theirs' || mine === undefined) return put(undefined);
    return put({ mine: withFields(mine, given), restores: true });
  }
  if (mine === undefined) {
    if (how === 'theirs') return put(undefined);
    return put({ base: theirs, mine: how === 'mine' ? undefined : withFields(theirs, given) });
  }
  const { merged, conflicts } = threeWay(base, mine, theirs);
  const settled = withFields(merged, how === 'theirs' ? fieldsOf(theirs, conflicts) : given);
  return put(changedFields(theirs, settled).length === 0 ? undefined : { base: theirs, mine: settled });
}

/** Creates a contact anew that is gone, under an id of its own: the old one may come back, as when a merge is taken back. */
export function createAnew(step: Step, record: ContactRecord, mine: Contact): void {
  const id = randomUuid();
  const isOwn = mine.uid.startsWith(UID_PREFIX) || mine.uid === '';
  const created = clone(ContactSchema, isOwn ? withFields(mine, { uid: uidOf(id) }) : mine);
  created.id = id;
  const { order } = record.change!;
  step.put({ id, generation: 0, theirs: undefined, change: { order, base: undefined, mine: created } });
  step.put({ ...record, change: undefined, mergedInto: undefined });
}
