/** A process that shares a session with others: makes ten calls at once, and again for each line that comes. */
import { createInterface } from 'node:readline';
import { createKith, fileStore } from '../../packages/client/src/node.ts';

const [, , url = '', path = ''] = process.argv;
const kith = createKith({ url, protocol: 'connect', credentials: { store: fileStore(path) } });

async function callTenTimes(): Promise<void> {
  const answers = await Promise.all(Array.from({ length: 10 }, () => kith.auth.userMe()));
  console.log(`${answers.filter(({ user }) => user !== undefined).length} answers`);
}

await callTenTimes();
for await (const _ of createInterface({ input: process.stdin })) await callTenTimes();
