import type { Compilable, CompiledQuery, DialectAdapter } from 'kysely';
import type { Db } from './database.ts';

/** An adapter that reads without Kysely's executor, which takes longer than SQLite takes to find a row. */
export interface ReadingAdapter extends DialectAdapter {
  /** The first row that a query finds, outside of transactions. Throws or rejects as the executor does. */
  readFirst(sql: string, parameters: readonly unknown[]): unknown;
}

/** A compiled query, and the source of each parameter: the index of one of the texts, or a value of the query itself. */
interface Prepared<Row> {
  readonly query: CompiledQuery<Row>;
  readonly sources: readonly (number | { readonly own: unknown })[];
}

/**
 * A query for one row that is built once for each database and then run with other
 * texts: building a query takes longer than SQLite takes to find a row. `build` gets
 * placeholders for the texts, so it must not examine them.
 */
export function prepared<Texts extends readonly string[], Row>(
  build: (db: Db, ...texts: Texts) => Compilable<Row>,
): (db: Db, ...texts: Texts) => Promise<Row | undefined> {
  const known = new WeakMap<object, Prepared<Row>>();
  return async (db, ...texts) => {
    const executor = db.getExecutor();
    // Plugins see queries while they are built.
    if (executor.plugins.length > 0) return (await db.executeQuery(build(db, ...texts))).rows[0];
    let found = known.get(executor.adapter);
    if (found === undefined) {
      const query = build(db, ...(texts.map((_, i) => STAND_IN + i) as unknown as Texts)).compile();
      found = { query, sources: query.parameters.map(sourceOf) };
      known.set(executor.adapter, found);
    }
    const parameters = found.sources.map((source) => (typeof source === 'number' ? texts[source] : source.own));
    if (!db.isTransaction && isReading(executor.adapter)) {
      return executor.adapter.readFirst(found.query.sql, parameters) as Row | undefined;
    }
    const { rows } = await executor.executeQuery<Row>({ ...found.query, parameters });
    return rows[0];
  };
}

export function isReading(adapter: DialectAdapter): adapter is ReadingAdapter {
  return 'readFirst' in adapter;
}

/** No text of a query's own holds a null character. */
const STAND_IN = '\0stand-in ';

function sourceOf(parameter: unknown): number | { own: unknown } {
  if (typeof parameter !== 'string' || !parameter.startsWith(STAND_IN)) return { own: parameter };
  return Number(parameter.slice(STAND_IN.length));
}
