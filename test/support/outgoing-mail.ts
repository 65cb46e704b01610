import { randomUUIDv7 } from 'node:crypto';
import type { OutgoingMail } from '../../src/mail/sender.ts';

/** A mail with a code, as it goes out. */
export function exampleMail(changes: Partial<OutgoingMail> = {}): OutgoingMail {
  return {
    id: randomUUIDv7(),
    kind: 'password_reset',
    recipient: 'ada@example.org',
    locale: 'de-AT',
    language: 'de',
    createMs: 0,
    subject: 'Ihr Code',
    text: 'Der Code ist 1234 5678\n',
    html: '<p>1234 5678</p>\n',
    facts: { service: 'Kith', code: '12345678' },
    ...changes,
  };
}
