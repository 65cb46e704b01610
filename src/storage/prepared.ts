import type { Compilable, CompiledQuery, DialectAdapter } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Db } from './database.ts';

/** An adapter that reads without Kysely's executor, which takes longer than SQLite takes to find a row. */
export interface ReadingAdapter extends DialectAdapter {
  /** The first row that a query finds, outside of transactions. Throws or rejects as the executor does. */
  readFirst(sql: string, parameters: readonly unknown[]): unknown;
}

/** A compiled query, and the source of each parameter: the index of one of the values, or a value of the query itself. */
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
      found = prepare(texts, (...standIns) => build(db, ...standIns));
      known.set(executor.adapter, found);
    }
    const parameters = parametersOf(found, texts);
    if (!db.isTransaction && isReading(executor.adapter)) {
      return executor.adapter.readFirst(found.query.sql, parameters) as Row | undefined;
    }
    const { rows } = await executor.executeQuery<Row>({ ...found.query, parameters });
    return rows[0];
  };
}

/** How many shapes of a query are kept: what callers send makes them, so that there may be many. */
const SHAPES_MAX = 100;

/**
 * The same for rows, and for a query of several shapes, such as with and without a condition: it is built once for each
 * database and shape, which is plain data.
 */
export function preparedRows<Shape, Values extends readonly (string | number)[], Row>(
  build: (db: Db, shape: Shape, ...values: Values) => Compilable<Row>,
): (db: Db, shape: Shape, ...values: Values) => Promise<Row[]> {
  const known = new WeakMap<object, LRUCache<string, Prepared<Row>>>();
  return async (db, shape, ...values) => {
    const executor = db.getExecutor();
    if (executor.plugins.length > 0) return (await db.executeQuery(build(db, shape, ...values))).rows;
    let shapes = known.get(executor.adapter);
    if (shapes === undefined) {
      shapes = new LRUCache({ max: SHAPES_MAX });
      known.set(executor.adapter, shapes);
    }
    const key = JSON.stringify(shape);
    let found = shapes.get(key);
    if (found === undefined) {
      found = prepare(values, (...standIns) => build(db, shape, ...standIns));
      shapes.set(key, found);
    }
    return (await executor.executeQuery<Row>({ ...found.query, parameters: parametersOf(found, values) })).rows;
  };
}

function prepare<Values extends readonly unknown[], Row>(
  values: Values,
  build: (...standIns: Values) => Compilable<Row>,
): Prepared<Row> {
  const query = build(...(values.map((_, i) => STAND_IN + i) as unknown as Values)).compile();
  return { query, sources: query.parameters.map(sourceOf) };
}

function parametersOf({ sources }: Prepared<unknown>, values: readonly unknown[]): unknown[] {
  return sources.map((source) => (typeof source === 'number' ? values[source] : source.own));
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
