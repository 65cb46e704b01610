/** The thread of a connection: see sqlite-thread.ts. */
import { DatabaseSync } from 'node:sqlite';
import { workerData } from 'node:worker_threads';
import { Statements } from './sqlite-statements.ts';
import type { Message, Reply, Request, ThreadData, WorkerError } from './sqlite-thread.ts';
import { PartError, Transactions } from './sqlite-transactions.ts';

const { options, port, replies }: ThreadData = workerData;
const { path, timeoutMs, pragmas, rowsMaxMs } = options;

interface Opened {
  readonly statements: Statements;
  readonly transactions: Transactions;
}

let opened: Opened | undefined;

/** Opens the file at the first statement, so that an error reaches the caller of that statement. */
function open(): Opened {
  const database = new DatabaseSync(path, { timeout: timeoutMs, enableForeignKeyConstraints: true });
  try {
    database.exec(pragmas);
  } catch (error) {
    database.close();
    throw error;
  }
  const statements = new Statements(database);
  return { statements, transactions: new Transactions(database, statements) };
}

port.on('message', (message: Message) => {
  if (message === 'close') {
    opened?.statements.close(); // writes the log back into the file
    port.close();
    return;
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  port.postMessage(message.map(answer));
  Atomics.add(replies, 0, 1);
  Atomics.notify(replies, 0);
});

function answer(request: Request): Reply {
  try {
    const { statements, transactions } = (opened ??= open());
    if (request === 'commit') {
      transactions.commit();
      return {};
    }
    if ('statements' in request) return { outcome: transactions.run(request) };
    return { outcome: statements.run(request.sql, request.parameters, rowsMaxMs) };
  } catch (error) {
    return { error: described(error) };
  }
}

/** Copying an error to another thread drops what Node adds to it. */
function described(error: unknown): WorkerError {
  if (error instanceof PartError) return { ...described(error.cause), isEarlier: error.isEarlier };
  const { message, errcode } = error as Error & { errcode?: number };
  return { message, errcode, isEarlier: true };
}
