import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/**
 * What API keys from before were given, in the permissions of now: never more than
 * they could do. Signing keys were listed with the permission to rotate them, sessions
 * and API keys ended with the one to write users, and read with that and the one to
 * read users. Nobody who wrote users is given roles.write: that a key which creates
 * users could make admins was not what it was given for.
 */
export function migration(): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await add(db, ['signing_keys.write'], 'signing_keys.read');
      await add(db, ['users.write', 'users.read'], 'credentials.read');
      await add(db, ['users.write'], 'credentials.write');
    },
  };
}

/** Adds a permission to the keys that have all of the others: they are texts in a JSON array, without blanks. */
async function add(db: Kysely<never>, held: readonly string[], added: string): Promise<void> {
  const has = held.map((permission) => sql`permissions like ${`%"${permission}"%`}`);
  await sql`
    update api_keys set permissions = replace(permissions, ']', ${`,"${added}"]`})
    where ${sql.join(has, sql` and `)}
  `.execute(db);
}
