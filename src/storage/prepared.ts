import type { Compilable, CompiledQuery, DialectAdapter } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Db } from './database.ts';
import { post } from './posted.ts';

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

/** A row to be written: plain data, with the same members each time. */
type NewRow = Readonly<object>;

/**
 * A statement that inserts rows, built once for each database and number of rows. `build` gets placeholders for the
 * members of the rows.
 */
export function preparedInsertion<Inserted extends NewRow, Row>(
  build: (db: Db, rows: readonly Inserted[]) => Compilable<Row>,
): (db: Db, rows: readonly Inserted[]) => Promise<Row[]> {
  const known = createShapes<Row>();
  return async (db, rows) => {
    const executor = db.getExecutor();
    if (executor.plugins.length > 0) return (await db.executeQuery(build(db, rows))).rows;
    return (await executor.executeQuery<Row>(known(db, rows, build))).rows;
  };
}

/** A statement whose result nobody waits for, built once for each database: see post. `build` gets placeholders for the members of the row. */
export function preparedPost<Written extends NewRow>(
  build: (tx: Db, row: Written) => Compilable,
): (tx: Db, row: Written) => Promise<void> {
  const postRows = preparedPosts<Written>((tx, [row]) => build(tx, row!));
  return (tx, row) => postRows(tx, [row]);
}

/** The same for rows, built once for each number of them. */
export function preparedPosts<Written extends NewRow>(
  build: (tx: Db, rows: readonly Written[]) => Compilable,
): (tx: Db, rows: readonly Written[]) => Promise<void> {
  const known = createShapes<unknown>();
  return (tx, rows) => post(tx, tx.getExecutor().plugins.length > 0 ? build(tx, rows) : known(tx, rows, build));
}

/** Gives the statement for rows, which is kept for those of the same names and number. */
function createShapes<Row>() {
  const known = new WeakMap<object, LRUCache<string, Prepared<Row>>>();
  return <Written extends NewRow>(
    db: Db,
    rows: readonly Written[],
    build: (db: Db, rows: readonly Written[]) => Compilable<Row>,
  ): CompiledQuery<Row> => {
    const { adapter } = db.getExecutor();
    let shapes = known.get(adapter);
    if (shapes === undefined) {
      shapes = new LRUCache({ max: SHAPES_MAX });
      known.set(adapter, shapes);
    }
    const names = Object.keys(rows[0]!) as (keyof Written)[];
    const key = `${rows.length} ${names.join()}`;
    let found = shapes.get(key);
    if (found === undefined) {
      const count = rows.length * names.length;
      found = prepare(Array.from({ length: count }), (...standIns) => {
        const row = (i: number) => names.map((name, k) => [name, standIns[i * names.length + k]]);
        return build(
          db,
          rows.map((_, i) => Object.fromEntries(row(i)) as Written),
        );
      });
      shapes.set(key, found);
    }
    const values = rows.flatMap((row) => names.map((name) => row[name]));
    return { ...found.query, parameters: parametersOf(found, values) };
  };
}

function prepare<Values extends readonly unknown[], Row>(
  values: Values,
  build: (...standIns: Values) => Compilable<Row>,
): Prepared<Row> {
  const query = build(...(values.map((_, i) => STAND_IN + i) as unknown as Values)).compile();
  // Of the tree of a statement, which may be large, nobody needs more than the kind.
  const root = { kind: query.query.kind } as CompiledQuery['query'];
  return { query: { ...query, query: root }, sources: query.parameters.map(sourceOf) };
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
