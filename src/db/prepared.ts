import type { Compilable, CompiledQuery } from 'kysely';
import type { Db } from './database.ts';

/**
 * A query that is built once for each kind of database, then run with other
 * texts in its place: building one takes several times as long as SQLite takes
 * to find a row. `build` gets stand-ins for the texts, so it must not look at them.
 */
export function prepared<Texts extends readonly string[], Row>(
  build: (db: Db, ...texts: Texts) => Compilable<Row>,
): (db: Db, ...texts: Texts) => Promise<Row | undefined> {
  const compiled = new WeakMap<object, CompiledQuery<Row>>();
  return async (db, ...texts) => {
    const { adapter } = db.getExecutor();
    let query = compiled.get(adapter);
    if (query === undefined) {
      query = build(db, ...(texts.map((_, i) => STAND_IN + i) as unknown as Texts)).compile();
      compiled.set(adapter, query);
    }
    const parameters = query.parameters.map((value) =>
      typeof value === 'string' && value.startsWith(STAND_IN) ? texts[Number(value.slice(STAND_IN.length))] : value,
    );
    const { rows } = await db.executeQuery<Row>({ ...query, parameters });
    return rows[0];
  };
}

/** No text of a query's own holds a null character. */
const STAND_IN = '\0stand-in ';
