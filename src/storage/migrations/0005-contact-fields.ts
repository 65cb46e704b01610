import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** The lists of a contact whose entries have a type. */
const LISTS = ['emails', 'phones', 'addresses', 'urls'] as const;

/**
 * Stores what a contact has under the names that the contract gives it: `job_title` and, in the
 * lists, `type`. Usage is counted anew with the rows, which it is a function of.
 *
 * What is replaced in the JSON are keys and nothing else: JSON.stringify writes no blank behind
 * them, and a quotation mark inside a text has a backslash before it. Answers that are remembered for
 * a request id are changed likewise.
 */
export function migration(): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema.alterTable('contacts').renameColumn('title', 'job_title').execute();
      const renamed = (list: string) => sql`replace(${sql.ref(list)}, '"label":', '"type":')`;
      const shorter = sql.join(
        LISTS.map((list) => sql`length(${sql.ref(list)}) - length(${renamed(list)})`),
        sql` + `,
      );
      await sql`
        update contacts set
          bytes = case when bytes > 0 then bytes - (${shorter}) else 0 end,
          ${sql.join(LISTS.map((list) => sql`${sql.ref(list)} = ${renamed(list)}`))}
        where ${sql.join(
          LISTS.map((list) => sql`${sql.ref(list)} <> '[]'`),
          sql` or `,
        )}`.execute(db);
      await sql`
        update user_usage set contact_bytes =
          (select coalesce(sum(bytes), 0) from contacts where owner_id = user_usage.user_id)`.execute(db);
      await sql`
        update requests set answer = replace(replace(answer, '"label":', '"type":'), '"title":', '"jobTitle":')
        where method = 'CreateContact'`.execute(db);
    },
  };
}
