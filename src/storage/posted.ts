import type { Compilable, CompiledQuery } from 'kysely';
import type { Db } from './database.ts';

/** A statement whose result nobody waits for. */
interface PostedQuery extends CompiledQuery {
  readonly isPosted: true;
}

/**
 * Runs a statement of a transaction whose result nobody needs: SQLite is given it with the next statement, or with the
 * commit, rather than in a message of its own. What it fails with, that statement or the commit throws, so use it where
 * nobody catches that.
 */
export async function post(tx: Db, query: Compilable | CompiledQuery): Promise<void> {
  const compiled = 'compile' in query ? query.compile() : query;
  const posted: PostedQuery = { ...compiled, isPosted: true };
  await tx.getExecutor().executeQuery(posted);
}

export function isPosted(query: CompiledQuery): query is PostedQuery {
  return 'isPosted' in query;
}
