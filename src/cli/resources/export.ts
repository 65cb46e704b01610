import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from '../client/connect.ts';
import { findMethod, ownContract } from '../client/contract.ts';
import { curlOf } from '../client/explain.ts';
import { type Command, CommandError, UsageError } from '../command.ts';
import { EXIT_CODES } from '../exit-codes.ts';
import { explainFindingUser, findUserId, USER_HELP } from './users.ts';

export const exportUser: Command = {
  summary: 'Export all that Kith keeps of a user as one JSON document',
  details:
    'The document is printed as it comes, or written to a file that you alone can read and that is there when it is complete. What you may not read is left out and named in its member omitted: the contacts of others, for one. docs/privacy.md says what is in it.\nCalls kith.user.v1.UserService/ExportUserData.',
  args: [{ name: 'USER', help: `The user: ${USER_HELP}.` }],
  options: {
    output: { value: 'FILE', help: 'Write the document to this file, in place of one that is there.' },
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
  },
  examples: ['kith users export me > me.json', 'kith users export ada --output ada.json'],
  async run(call) {
    const { args, options, terminal, signal } = call;
    const named = args['USER']!;
    const target = await targetOf(call);
    if (options.has('explain')) {
      const method = findMethod(ownContract(), 'kith.user.v1.UserService/ExportUserData');
      if (explainFindingUser(target.url, named) !== undefined) {
        throw new UsageError('--explain takes the id of the user here, since the message has its length before it');
      }
      return terminal.print(curlOf(target.url, method, { userId: named }));
    }
    const kith = connect(target);
    const userId = await findUserId(kith, named);
    const file = options.value('output');
    const write = async (to: (text: string) => Promise<unknown>): Promise<void> => {
      for await (const { json } of kith.users.exportData({ userId }, { signal })) await to(json);
    };
    if (file === undefined) return write((text) => terminal.write(text));
    await replaceFile(file, write);
    terminal.note(`written to ${file}`);
  },
};

/** Writes a file with mode 0600 beside its place, and puts it there when it is complete. */
export async function replaceFile(
  file: string,
  write: (to: (part: string | Uint8Array) => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const draft = `${file}.${process.pid}`;
  const handle = await inFile(file, () => open(draft, 'wx', 0o600));
  try {
    await write((part) => inFile(file, () => handle.writeFile(part)));
    await inFile(file, () => closeOnDisk(handle));
    await inFile(file, () => rename(draft, file));
  } catch (error) {
    await handle.close();
    await rm(draft, { force: true });
    throw error;
  }
}

async function closeOnDisk(handle: FileHandle): Promise<void> {
  await handle.sync();
  await handle.close();
}

/** Throws CommandError where writing the file fails. */
async function inFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new CommandError(`cannot write ${file}: ${(error as Error).message}`, EXIT_CODES.failed, { cause: error });
  }
}
