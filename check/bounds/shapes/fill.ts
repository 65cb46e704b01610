import { createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  ActivityService,
  type RecordUserActivityRequestSchema,
} from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService, type CreateContactRequestSchema } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import type { Attack } from '../attack.ts';

export type NewContact = MessageInitShape<typeof CreateContactRequestSchema>;

/** How long an attacker may take to prepare, milliseconds: what is there then has to do. */
const PREPARE_MAX_MS = 8000;
const AT_ONCE = 8;

/** A number that no other seed gives. */
function digits(length: number, seed: number): string {
  let state = seed;
  let text = '';
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0; // Numerical Recipes' generator
    text += (state >>> 8) % 10;
  }
  return text;
}

/** Twenty numbers of 64 digits, each different: the most terms a contact can make. */
export function phonesContact(i: number): NewContact {
  return { givenName: `P${i}`, phones: Array.from({ length: 20 }, (_, n) => ({ number: digits(64, i * 20 + n + 1) })) };
}

/** Notes and addresses of some 25 kB, which do not compress to nothing. */
export function largeContact(i: number): NewContact {
  const text = (length: number, seed: number) => Number(digits(15, seed)).toString(36).concat(digits(length, seed));
  return {
    givenName: `Large ${i}`,
    notes: text(9900, i + 1),
    urls: Array.from({ length: 8 }, (_, n) => ({ url: `https://example.org/${text(1900, i * 8 + n + 1)}` })),
  };
}

/** Every list full and every text at its longest, in characters of four bytes where they are allowed. */
export function fullContact(i: number): NewContact {
  const owl = (length: number) => '🦉'.repeat(length);
  return {
    givenName: owl(200),
    familyName: owl(200),
    company: owl(200),
    jobTitle: owl(200),
    emails: Array.from({ length: 20 }, (_, n) => ({
      address: `${'e'.repeat(60)}${i}.${n}@${'d'.repeat(60)}.example.org`,
      type: owl(64),
    })),
    phones: Array.from({ length: 20 }, (_, n) => ({ number: digits(64, i * 20 + n + 1), type: owl(64) })),
    addresses: Array.from({ length: 20 }, () => ({
      street: owl(500),
      city: owl(200),
      region: owl(200),
      postalCode: owl(32),
      country: owl(100),
      type: owl(64),
    })),
    urls: Array.from({ length: 20 }, (_, n) => ({
      url: `https://example.org/${n}/${'u'.repeat(2000)}`,
      type: owl(64),
    })),
    notes: owl(10_000),
  };
}

/** Makes contacts of the viewer's, as many as there is time for. */
export async function fillContacts(attack: Attack, count: number, make: (i: number) => NewContact): Promise<void> {
  const client = createClient(ContactService, transport(attack, attack.viewer.accessToken));
  await fill(count, async (i) => client.createContact(make(i)));
}

/** Records batches of the largest activities there are, of the viewer's user. */
export async function recordActivities(attack: Attack, batches: number): Promise<void> {
  const client = createClient(ActivityService, transport(attack, attack.editor.accessToken));
  await fill(batches, () => client.recordUserActivity(largestBatch(attack.viewer.id)));
}

export function largestBatch(userId: string): MessageInitShape<typeof RecordUserActivityRequestSchema> {
  const attributes = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key ${i}`, 'v'.repeat(400)]));
  return {
    activities: Array.from({ length: 100 }, () => ({
      userId,
      action: 'page.viewed',
      details: 'd'.repeat(900),
      attributes,
    })),
  };
}

async function fill(count: number, one: (i: number) => Promise<unknown>): Promise<void> {
  const endMs = performance.now() + PREPARE_MAX_MS;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count && performance.now() < endMs) {
      const i = next++;
      // What is refused is a bound that holds already.
      await one(i).catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const transports = new Map<string, Transport>();

/** One connection for each account. */
function transport(attack: Attack, token: string): Transport {
  const found = transports.get(token);
  if (found !== undefined) return found;
  const made = createGrpcTransport({
    baseUrl: `http://127.0.0.1:${attack.options.port}`,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  transports.set(token, made);
  return made;
}
