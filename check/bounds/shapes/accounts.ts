import { randomBytes } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { RecordUserActivityRequestSchema } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  ContactFormat,
  CreateContactRequestSchema,
  ImportContactsRequestSchema,
  UpdateContactRequestSchema,
} from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { blackPng, pngChunk } from '../../../src/contacts/photos/pictures.testkit.ts';
import type { Attack, Call, Pump } from '../attack.ts';
import type { Shape } from '../shape.ts';
import { fillContacts, fullContact, largestBatch, type NewContact, phonesContact } from './fill.ts';

/** A call of a method by its name, in JSON. */
function call(attack: Attack, name: string, message: object, token?: string, headers?: Record<string, string>): Call {
  const method = attack.methods.find((method) => method.name === name);
  if (method === undefined) throw new Error(`there is no method ${name}`);
  return { method, protocol: 'connect-json', body: JSON.stringify(message), token, ...(headers && { headers }) };
}

const FLOOD: Pump = { connections: 4, inFlight: 20 };

const byViewer = (attack: Attack) => attack.viewer.accessToken;
const byEditor = (attack: Attack) => attack.editor.accessToken;

interface Flood {
  readonly name: string;
  readonly kind: string;
  readonly who: Shape['who'];
  readonly sends: string;
  readonly expects: readonly RegExp[];
  readonly call: (attack: Attack, n: number) => Call;
  readonly pump?: Pump;
  readonly prepare?: Shape['prepare'];
  readonly isShort?: boolean;
  readonly sharesAddress?: boolean;
}

function flood({ call, pump = FLOOD, prepare, ...shape }: Flood): Shape {
  const isFlood = pump.perSecond === undefined;
  return { isFlood, ...shape, ...(prepare && { prepare }), run: (attack) => attack.pump(pump, (n) => call(attack, n)) };
}

const signInShapes: readonly Shape[] = [
  flood({
    name: 'the right password, over and over',
    kind: 'sign-in',
    who: 'viewer',
    sends: 'Login with the right password, 20 at a time',
    expects: [/OK/],
    pump: { connections: 2, inFlight: 10 },
    call: (attack) => call(attack, 'Login', { identifier: attack.viewer.username, password: attack.viewer.password }),
  }),
  flood({
    name: 'wrong passwords from one address',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'Login with wrong passwords of one user',
    expects: [/CREDENTIALS_INVALID/, /TOO_MANY_ATTEMPTS/],
    isShort: true,
    call: (attack, n) => call(attack, 'Login', { identifier: attack.viewer.username, password: `wrong ${n}` }),
  }),
  flood({
    name: 'wrong passwords from many addresses',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'Login with wrong passwords of many users, from 200 addresses',
    expects: [/CREDENTIALS_INVALID|SERVER_BUSY|BUDGET_EXCEEDED/],
    pump: { connections: 200, inFlight: 2, addresses: 200 },
    call: (attack, n) => call(attack, 'Login', { identifier: `user${n}`, password: `wrong ${n}` }),
  }),
  flood({
    name: 'wrong passwords from the address of others',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'Login with wrong passwords from the address of the well-behaved',
    expects: [/CREDENTIALS_INVALID|TOO_MANY_ATTEMPTS/],
    sharesAddress: true,
    call: (attack, n) => call(attack, 'Login', { identifier: `nobody${n}`, password: `wrong ${n}` }),
  }),
  flood({
    name: 'usernames that there are not',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'Login of distinct usernames of 254 characters',
    expects: [/TOO_MANY_ATTEMPTS|CREDENTIALS_INVALID/],
    call: (attack, n) => call(attack, 'Login', { identifier: `${n}${'🦉'.repeat(240)}`, password: 'p' }),
  }),
  flood({
    name: 'refresh tokens that there are not',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'RefreshAccessToken with random tokens',
    expects: [/REFRESH_TOKEN_INVALID|TOO_MANY|BUDGET/],
    isShort: true,
    call: (attack) => call(attack, 'RefreshAccessToken', { refreshToken: randomBytes(60).toString('base64url') }),
  }),
  flood({
    name: 'a refresh token again and again',
    kind: 'sign-in',
    who: 'viewer',
    sends: 'RefreshAccessToken with one token',
    expects: [/OK/],
    call: (attack) => call(attack, 'RefreshAccessToken', { refreshToken: attack.viewer.refreshToken }),
  }),
  flood({
    name: 'challenges that there are not',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'CompleteLogin with random challenges',
    expects: [/CHALLENGE_INVALID|TOO_MANY|BUDGET/],
    call: (attack) =>
      call(attack, 'CompleteLogin', { challengeToken: randomBytes(700).toString('base64url'), totpCode: '123456' }),
  }),
  flood({
    name: 'API keys that there are not',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'UserMe with keys in the right form',
    expects: [/API_KEY_INVALID|ACCESS_TOKEN_INVALID/],
    call: (attack) =>
      call(
        attack,
        'UserMe',
        {},
        `kith_ak_${randomBytes(200).toString('base64').replaceAll(/[^\w]/g, '').slice(0, 82)}`,
      ),
  }),
  flood({
    name: 'access tokens that are forged',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'UserMe with a token whose signature is random, each another one',
    expects: [/ACCESS_TOKEN_INVALID/],
    call: (attack) => {
      const [header, claims] = attack.viewer.accessToken.split('.');
      return call(attack, 'UserMe', {}, `${header}.${claims}.${randomBytes(64).toString('base64url')}`);
    },
  }),
  flood({
    name: 'long bearer tokens',
    kind: 'sign-in',
    who: 'anybody',
    sends: 'UserMe with a token of 14 kB',
    expects: [/ACCESS_TOKEN_INVALID/],
    call: (attack, n) => call(attack, 'UserMe', {}, `${n}${'.eyJ'.repeat(3500)}`),
  }),
  flood({
    name: 'passwords to change',
    kind: 'sign-in',
    who: 'viewer',
    sends: 'ChangePassword with a wrong current one',
    expects: [/PASSWORD_WRONG/, /TOO_MANY_ATTEMPTS/],
    call: (attack, n) =>
      call(
        attack,
        'ChangePassword',
        { currentPassword: `wrong ${n}`, newPassword: `a new one ${n}` },
        byViewer(attack),
      ),
  }),
  flood({
    name: 'second factors enrolled over and over',
    kind: 'sign-in',
    who: 'viewer',
    sends: 'EnrollTotp',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    call: (attack) => call(attack, 'EnrollTotp', {}, byViewer(attack)),
  }),
  flood({
    name: 'API keys made and exchanged',
    kind: 'sign-in',
    who: 'API key',
    sends: 'ExchangeApiKey',
    expects: [/OK/],
    call: (attack) => call(attack, 'ExchangeApiKey', {}, attack.options.apiKey),
  }),
];

const phones = (attack: Attack) => fillContacts(attack, 400, phonesContact);

const searchShapes: readonly Shape[] = [
  flood({
    name: 'searches for one digit',
    isShort: true,
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts of a digit that all match, among contacts with 20 phones of 64 digits, 5 a second',
    expects: [/OK/],
    prepare: phones,
    pump: { inFlight: 10, perSecond: 5 },
    call: (attack, n) => call(attack, 'ListContacts', { query: String(n % 10), pageSize: 50 }, byViewer(attack)),
  }),
  flood({
    name: 'searches for digits, with the total',
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts of 1 to 5 digits with include_total_size, 5 a second',
    expects: [/OK/],
    prepare: phones,
    pump: { inFlight: 10, perSecond: 5 },
    call: (attack, n) =>
      call(
        attack,
        'ListContacts',
        { query: '13579'.slice(0, 1 + (n % 5)), pageSize: 1000, includeTotalSize: true },
        byViewer(attack),
      ),
  }),
  flood({
    name: 'searches for many words',
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts of 50 words that all match',
    expects: [/OK/],
    prepare: phones,
    pump: { inFlight: 10, perSecond: 10 },
    call: (attack) =>
      call(attack, 'ListContacts', { query: 'p '.repeat(50), includeTotalSize: true }, byViewer(attack)),
  }),
  flood({
    name: 'filters that nothing passes',
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts of starred contacts that match a digit, of which there is none',
    expects: [/OK/],
    prepare: phones,
    pump: { inFlight: 10, perSecond: 10 },
    call: (attack) => call(attack, 'ListContacts', { query: '1', starred: true, pageSize: 1000 }, byViewer(attack)),
  }),
  flood({
    name: 'searches, as fast as can be',
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts of one digit on 100 streams',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    prepare: phones,
    pump: { connections: 5, inFlight: 20 },
    call: (attack, n) => call(attack, 'ListContacts', { query: String(n % 10), pageSize: 1 }, byViewer(attack)),
  }),
  flood({
    name: 'searches among users',
    kind: 'searches',
    who: 'editor',
    sends: 'ListUsers of one letter, with the total',
    expects: [/OK/],
    call: (attack, n) =>
      call(
        attack,
        'ListUsers',
        { query: 'abcdefghijklmnopqrstuvwxyz'[n % 26], pageSize: 1000, includeTotalSize: true },
        byEditor(attack),
      ),
  }),
  flood({
    name: 'page tokens that nobody gave out',
    isShort: true,
    kind: 'searches',
    who: 'viewer',
    sends: 'ListContacts with random tokens of 2 kB',
    expects: [/PAGE_TOKEN_INVALID/],
    call: (attack) =>
      call(attack, 'ListContacts', { pageToken: randomBytes(1500).toString('base64url') }, byViewer(attack)),
  }),
  flood({
    name: 'details that count',
    kind: 'searches',
    who: 'viewer',
    sends: 'GetUserDetails, which counts the contacts',
    expects: [/OK/],
    prepare: phones,
    call: (attack) => call(attack, 'GetUserDetails', { userId: attack.viewer.id }, byViewer(attack)),
  }),
];

function binary(attack: Attack, name: string, body: Uint8Array, token: string): Call {
  const method = attack.methods.find((method) => method.name === name);
  if (method === undefined) throw new Error(`there is no method ${name}`);
  return { method, protocol: 'grpc', body, token };
}

function creates(attack: Attack, contact: NewContact): Call {
  return binary(
    attack,
    'CreateContact',
    toBinary(CreateContactRequestSchema, create(CreateContactRequestSchema, contact)),
    byViewer(attack),
  );
}

let contactId = '';

/** Black, of the most pixels that a photo may have: different bytes each time, of the same picture. */
function blackPicture(n: number): Buffer {
  const end = -12; // behind the pixels
  const note = pngChunk('tEXt', Buffer.from(`n\0${n}`));
  return Buffer.concat([BLACK.subarray(0, end), note, BLACK.subarray(end)]);
}
const BLACK = blackPng(2048, 2048);

const photoOf = (attack: Attack, n: number): Call => {
  const image = blackPicture(n);
  const card = `BEGIN:VCARD\nUID:p${n}\nN:P${n}\nPHOTO;ENCODING=b:${image.toString('base64')}\nEND:VCARD\n`;
  const message = create(ImportContactsRequestSchema, { format: ContactFormat.VCARD_3, content: Buffer.from(card) });
  return binary(attack, 'ImportContacts', toBinary(ImportContactsRequestSchema, message), byEditor(attack));
};

const storageShapes: readonly Shape[] = [
  flood({
    name: 'photos of four million pixels',
    kind: 'storage',
    who: 'editor',
    sends: 'ImportContacts of a photo in a kilobyte and a half that is as large as may be, 40 at a time',
    expects: [/OK/],
    pump: { connections: 2, inFlight: 20 },
    call: photoOf,
  }),
  flood({
    name: 'contacts with twenty phones of 64 digits',
    kind: 'storage',
    who: 'viewer',
    sends: 'CreateContact with the most digits, as fast as can be',
    expects: [/OK/],
    pump: { connections: 2, inFlight: 10 },
    call: (attack, n) => creates(attack, phonesContact(n)),
  }),
  flood({
    name: 'full contacts',
    kind: 'storage',
    who: 'viewer',
    sends: 'CreateContact with every list full and every text at its longest',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    pump: { connections: 2, inFlight: 10 },
    call: (attack, n) => creates(attack, fullContact(n)),
  }),
  flood({
    name: 'contacts that are almost valid',
    kind: 'messages',
    who: 'viewer',
    sends: 'CreateContact with every list full and the last entry wrong, 20 a second',
    expects: [/FIELDS_INVALID/],
    pump: { inFlight: 10, perSecond: 20 },
    call: (attack, n) => creates(attack, { ...fullContact(n), notes: '\u0000' }),
  }),
  flood({
    name: 'contacts in which everything is wrong',
    kind: 'messages',
    who: 'viewer',
    sends: 'CreateContact with 80 entries, all of them wrong, 20 a second',
    expects: [/FIELDS_INVALID/],
    pump: { inFlight: 10, perSecond: 20 },
    call: (attack) =>
      creates(attack, {
        emails: Array.from({ length: 20 }, () => ({
          address: '@'.repeat(2000),
          type: '\n'.repeat(100),
          primary: true,
        })),
        phones: Array.from({ length: 20 }, () => ({
          number: 'a'.repeat(2000),
          type: '\n'.repeat(100),
          primary: true,
        })),
        urls: Array.from({ length: 20 }, () => ({
          url: 'https://['.repeat(500),
          type: '\n'.repeat(100),
          primary: true,
        })),
        addresses: Array.from({ length: 20 }, () => ({ street: '\u0000'.repeat(600), primary: true })),
      }),
  }),
  flood({
    name: 'creates with one request id',
    kind: 'storage',
    who: 'viewer',
    sends: 'CreateContact with one request id, as fast as can be',
    expects: [/OK/],
    call: (attack) => creates(attack, { givenName: 'Once', requestId: '0198c0de-0000-7000-8000-000000000001' }),
  }),
  flood({
    name: 'creates with request ids',
    kind: 'storage',
    who: 'viewer',
    sends: 'CreateContact of 20 kB, each with a request id of its own, whose answers are kept',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    call: (attack, n) =>
      creates(attack, { ...fullContact(n), addresses: [], phones: [], requestId: attack.random.uuid() }),
  }),
  flood({
    name: 'writes to one contact',
    kind: 'storage',
    who: 'viewer',
    sends: 'UpdateContact of one contact on 100 streams',
    expects: [/OK/],
    isShort: true,
    async prepare(attack) {
      const response = await fetch(
        `http://127.0.0.1:${attack.options.port}/kith.contact.v1.ContactService/CreateContact`,
        {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${byViewer(attack)}` },
          body: JSON.stringify({ givenName: 'One' }),
        },
      );
      contactId = ((await response.json()) as { contact: { id: string } }).contact.id;
    },
    pump: { connections: 5, inFlight: 20 },
    call: (attack, n) =>
      binary(
        attack,
        'UpdateContact',
        toBinary(
          UpdateContactRequestSchema,
          create(UpdateContactRequestSchema, {
            contactId,
            notes: `${n}${'n'.repeat(9000)}`,
            phones: { values: phonesContact(n).phones ?? [] },
          }),
        ),
        byViewer(attack),
      ),
  }),
  flood({
    name: 'the largest batches of activity',
    kind: 'storage',
    who: 'editor',
    sends: 'RecordUserActivity of 100 activities of 10 kB',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    pump: { connections: 2, inFlight: 10 },
    call: (attack) =>
      binary(
        attack,
        'RecordUserActivity',
        toBinary(
          RecordUserActivityRequestSchema,
          create(RecordUserActivityRequestSchema, largestBatch(attack.viewer.id)),
        ),
        byEditor(attack),
      ),
  }),
  flood({
    name: 'the name changed over and over',
    kind: 'storage',
    who: 'viewer',
    sends: 'UpdateUser of the own name, each an activity that is kept',
    expects: [/OK|RESOURCE_EXHAUSTED/],
    call: (attack, n) => call(attack, 'UpdateUser', { userId: attack.viewer.id, name: `Name ${n}` }, byViewer(attack)),
  }),
  flood({
    name: 'API keys made',
    kind: 'storage',
    who: 'viewer',
    sends: 'CreateApiKey until there are as many as there may be, and more',
    expects: [/OK/, /API_KEY_LIMIT_REACHED/],
    call: (attack, n) =>
      call(attack, 'CreateApiKey', { name: `Key ${n}`, permissions: ['PERMISSION_CONTACTS_READ'] }, byViewer(attack)),
  }),
  flood({
    name: 'small reads, as fast as can be',
    kind: 'calls',
    who: 'viewer',
    sends: 'GetUser on 200 streams of ten connections',
    expects: [/OK/],
    isShort: true,
    pump: { connections: 10, inFlight: 20 },
    call: (attack) => call(attack, 'GetUser', { userId: attack.viewer.id }, byViewer(attack)),
  }),
  flood({
    name: 'small reads with an API key',
    kind: 'calls',
    who: 'API key',
    sends: 'ListUsers of one user on 40 streams',
    expects: [/OK/],
    pump: { connections: 4, inFlight: 10 },
    call: (attack) => call(attack, 'ListUsers', { pageSize: 1 }, attack.options.apiKey),
  }),
];

export const accountShapes: readonly Shape[] = [...signInShapes, ...searchShapes, ...storageShapes];
