import { fromBinary } from '@bufbuild/protobuf';
import { CreateContactResponseSchema } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { CreateUserResponseSchema } from '../../gen/kith/user/v1/user_service_pb.ts';
import type { ContactRow } from '../../src/contacts/store.ts';
import { bytesOf, toColumns, toFields } from '../../src/contacts/contact.ts';
import { contactTerms } from '../../src/contacts/terms.ts';
import { searchTerm, wordTerms } from '../../src/kernel/text.ts';
import { metadataTerms } from '../../src/identity/users/metadata.ts';
import type { UserRow } from '../../src/identity/users/store.ts';

type Select = (sql: string) => Promise<readonly Record<string, unknown>[]>;

/** Rows that must not exist, in SQL of every database. */
const NEVER: Record<string, string> = {
  'a user whose contacts are counted wrongly': `select u.id from users u
    left join user_usage s on s.user_id = u.id
    where coalesce(s.contacts, 0) <> (select count(*) from contacts c where c.owner_id = u.id and c.bytes > 0)
    or coalesce(s.live_contacts, 0) <>
      (select count(*) from contacts c where c.owner_id = u.id and c.bytes > 0 and c.deleted = 0)
    or coalesce(s.contact_bytes, 0) <> (select coalesce(sum(c.bytes), 0) from contacts c where c.owner_id = u.id)
      + (select coalesce(sum(m.bytes), 0) from contact_merges m where m.owner_id = u.id)
      + (select coalesce(sum(i.bytes), 0) from contact_imports i where i.owner_id = u.id)
      + (select coalesce(sum(g.bytes), 0) from contact_import_changes g where g.owner_id = u.id)
      + (select coalesce(sum(p.bytes), 0) from contact_photos p where p.owner_id = u.id)
    or coalesce(s.version_bytes, 0) <>
      (select coalesce(sum(v.bytes), 0) from contact_versions v where v.owner_id = u.id)`,
  'a label whose contacts are counted wrongly': `select l.id from labels l where l.contacts <> (
    select count(*) from contact_terms t join contacts c on c.id = t.contact_id
    where t.owner_id = l.owner_id and t.term = '\u0003' || l.id and c.deleted = 0)`,
  'a session without its user': 'select s.id from sessions s left join users u on u.id = s.user_id where u.id is null',
  'a contact without its owner':
    'select c.id from contacts c left join users u on u.id = c.owner_id where u.id is null',
  'a remembered request without its caller':
    'select r.request_id as id from requests r left join users u on u.id = r.caller_id where u.id is null',
  'a half deleted user': `select id from users where
    not (state = 'deleted' and delete_ms is not null and purge_ms is not null and undelete_state is not null) and
    not (state <> 'deleted' and delete_ms is null and purge_ms is null and undelete_state is null)`,
  'a half deleted contact': `select id from contacts where
    not (deleted = 1 and delete_ms is not null and purge_ms is not null and merge_id = '') and
    not (deleted = 2 and delete_ms is not null and purge_ms is not null and merge_id <> '') and
    not (deleted = 0 and delete_ms is null and purge_ms is null and merge_id = '')`,
  'a merge without contacts that were merged': `select m.id from contact_merges m
    left join contacts c on c.merge_id = m.id where c.id is null`,
  'a merge of contacts of others': `select m.id from contact_merges m
    join contacts c on c.merge_id = m.id where c.owner_id <> m.owner_id`,
  'an import whose changes are counted wrongly': `select i.id from contact_imports i where i.remaining <> (
    select count(*) from contact_import_changes g where g.owner_id = i.owner_id and g.import_id = i.id)`,
  'a change of an import that is not there': `select g.contact_id as id from contact_import_changes g
    left join contact_imports i on i.owner_id = g.owner_id and i.id = g.import_id where i.id is null`,
  'a contact whose photo is not there': `select c.id from contacts c
    left join contact_photos p on p.owner_id = c.owner_id and p.id = c.photo_id where c.photo_id <> '' and p.id is null`,
  'a photo without its images': `select p.id from contact_photos p where 2 <> (
    select count(*) from contact_photo_images i where i.owner_id = p.owner_id and i.photo_id = p.id)`,
  'an image without its photo': `select i.photo_id as id from contact_photo_images i
    left join contact_photos p on p.owner_id = i.owner_id and p.id = i.photo_id where p.id is null`,
  // Revocations are in force for an hour and a minute: those of what ended later than one that is there are there too.
  'a session that ended without a revocation': `select s.id from sessions s
    left join revocations r on r.session_id = s.id where r.session_id is null
    and exists (select 1 from revocations o where o.expire_ms - 3660000 <= s.end_ms)`,
  'a second factor without its user':
    'select f.user_id as id from second_factors f left join users u on u.id = f.user_id where u.id is null',
  'recovery codes without an authenticator app': `select c.user_id as id from recovery_codes c
    left join second_factors f on f.user_id = c.user_id and f.confirm_ms is not null where f.user_id is null`,
};

/** What is there by half: told as sentences, none when all is well. */
export async function findFaults(select: Select): Promise<string[]> {
  const faults: string[] = [];
  for (const [fault, sql] of Object.entries(NEVER)) {
    for (const { id } of await select(sql)) faults.push(`${fault}: ${String(id)}`);
  }

  const users = (await select('select * from users')) as unknown as UserRow[];
  const userTerms = await termsBy(select, 'select user_id as id, term from user_terms');
  for (const { id, name, name_key, username, email, public_metadata, private_metadata } of users) {
    if (name_key !== searchTerm(name) && name_key !== '') faults.push(`user ${id} is sorted by another name`);
    const metadata = [
      ...metadataTerms('public_metadata', public_metadata ?? ''),
      ...metadataTerms('private_metadata', private_metadata ?? ''),
    ];
    const expected = [...wordTerms(name), searchTerm(username), searchTerm(email), ...metadata];
    if (!isSame(expected, userTerms.get(id))) faults.push(`the search terms of user ${id} are not those of the names`);
    userTerms.delete(id);
  }
  for (const id of userTerms.keys()) faults.push(`search terms without their user: ${id}`);

  const contacts = (await select('select * from contacts')) as unknown as ContactRow[];
  const terms = await termsBy(select, "select owner_id || '/' || contact_id as id, term from contact_terms");
  for (const row of contacts) {
    const key = `${row.owner_id}/${row.id}`;
    const fields = toFields(row);
    const expected = contactTerms(fields);
    if (!isSame(expected, terms.get(key))) {
      faults.push(`the search terms of contact ${row.id} are not those of its fields`);
    }
    if (String(row.bytes) !== String(bytesOf(toColumns(fields), expected))) {
      faults.push(`contact ${row.id} is counted with bytes that it does not take`);
    }
    terms.delete(key);
  }
  for (const key of terms.keys()) faults.push(`search terms without their contact: ${key}`);

  const ids = new Set([...users, ...contacts].map(({ id }) => id));
  for (const { request_id, method, response } of await select('select request_id, method, response from requests')) {
    const id = createdIdOf(String(method), Buffer.from(String(response), 'base64'));
    if (id !== undefined && !ids.has(id))
      faults.push(`request ${String(request_id)} has a response without what it created`);
  }
  return faults;
}

/** The id of the user or contact in a stored response; undefined for one that holds neither. */
function createdIdOf(method: string, response: Uint8Array): string | undefined {
  if (method === 'CreateUser') return fromBinary(CreateUserResponseSchema, response).user?.id;
  if (method === 'CreateContact') return fromBinary(CreateContactResponseSchema, response).contact?.id;
  return undefined;
}

async function termsBy(select: Select, sql: string): Promise<Map<string, Set<string>>> {
  const terms = new Map<string, Set<string>>();
  for (const { id, term } of await select(sql)) {
    const key = String(id);
    terms.set(key, (terms.get(key) ?? new Set()).add(String(term)));
  }
  return terms;
}

function isSame(expected: readonly string[], actual: ReadonlySet<string> = new Set()): boolean {
  return new Set(expected).symmetricDifference(actual).size === 0;
}
