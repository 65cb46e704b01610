/** The thread of a connection: see sqlite-thread.ts. */
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';
import { Statements } from './sqlite-statements.ts';
import type { Reply, Request, ThreadData } from './sqlite-thread.ts';

const { options, port, replies }: ThreadData = workerData;
const { path, timeoutMs, pragmas, rowsMaxMs } = options;

let opened: { readonly database: DatabaseSync; readonly statements: Statements } | undefined;

/** Opens the file at the first statement, so that an error reaches the caller of that statement. */
function open(): NonNullable<typeof opened> {
  const database = new DatabaseSync(path, { timeout: timeoutMs, enableForeignKeyConstraints: true });
  try {
    database.exec(pragmas);
  } catch (error) {
    database.close();
    throw error;
  }
  return { database, statements: new Statements(database) };
}

port.on('message', (request: Request) => {
  if (request === 'close') {
    opened?.statements.close(); // writes the log back into the file
    port.close();
    return;
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  port.postMessage(answer(request));
  Atomics.add(replies, 0, 1);
  Atomics.notify(replies, 0);
});

function answer({ sql, parameters, inTransaction }: Exclude<Request, string>): Reply {
  try {
    const { database, statements } = (opened ??= open());
    // By itself it would be a transaction of its own, of which the one that was lost knows nothing.
    if (inTransaction && !database.isTransaction) throw new Error('the transaction was rolled back');
    return { outcome: statements.run(sql, parameters, rowsMaxMs), isTransaction: database.isTransaction };
  } catch (error) {
    return { error: described(error), isTransaction: opened?.database.isTransaction === true };
  }
}

/** Copying an error to another thread drops what Node adds to it. */
function described(error: unknown): { message: string; errcode: number | undefined } {
  const { message, errcode } = error as Error & { errcode?: number };
  return { message, errcode };
}
