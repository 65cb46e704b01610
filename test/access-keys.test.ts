import { type DescMessage, getOption, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import { isReflectList, reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { access } from '../gen/kith/access/v1/access_pb.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import {
  ALL,
  type Answers,
  answersOver,
  type Matrix,
  type Method,
  METHODS,
  type NewKey,
  methodsOver,
  protocolsOn,
  REFUSED,
  type Refused,
  SELF_METHODS,
  startMatrix,
} from './support/access-matrix.ts';
import { databases } from './support/databases.ts';
import type { SignedIn } from './support/kith.ts';
import { permissionName } from './support/roles.ts';

/** What it takes to read a message: what it takes to list it. */
const READERS: ReadonlyMap<DescMessage, Permission> = new Map(
  METHODS.flatMap(({ method }) => {
    const { rule } = getOption(method, access);
    const listed = method.output.fields.find(({ fieldKind }) => fieldKind === 'list')?.message;
    return method.name.startsWith('List') && listed !== undefined && rule.case === 'permission'
      ? [[listed, rule.value] as const]
      : [];
  }),
);

/** The fields that say nothing of a thing: everybody is answered them. */
const ALWAYS: readonly string[] = ['id', 'etag', 'kid'];

/** What an answer holds that a key with these permissions may not read, and what it lacks that the key may. */
function misread(desc: DescMessage, message: Message, permissions: readonly Permission[]): string[] {
  const reflected = reflect(desc, message);
  const present = desc.fields.filter((field) => reflected.isSet(field));
  const permission = READERS.get(desc);
  const more = present.filter(({ name }) => !ALWAYS.includes(name)).map(({ name }) => `${desc.typeName}.${name}`);
  if (permission !== undefined && !permissions.includes(permission)) return more;
  if (permission !== undefined && more.length === 0) return [`nothing of ${desc.typeName} but ${ALWAYS.join()}`];
  if (permission === undefined && present.some(({ name }) => name === 'id')) return [`${desc.typeName} is in no list`];
  return present.flatMap((field) => {
    if (field.message === undefined) return [];
    const value = reflected.get(field);
    const inner = isReflectList(value) ? [...value] : [value];
    return inner.flatMap((item) => misread(field.message, (item as ReflectMessage).message, permissions));
  });
}

/** The answer that the contract declares for an API key. It is let in by its permissions alone. */
function declaredForKey(method: Method, { permissions, isExchanged }: KeyCaller): string {
  const { rule, apiKeys, freshSignIn } = getOption(method, access);
  const { answer = 'ok', answerToKey }: Partial<Refused> = REFUSED.get(method) ?? {};
  if (rule.case === 'signedIn' && !apiKeys) return 'PermissionDenied SESSION_REQUIRED';
  if (rule.case === 'permission' && !permissions.includes(rule.value)) {
    return `PermissionDenied PERMISSION_MISSING ${permissionName(rule.value)}`;
  }
  if (freshSignIn) return 'Unauthenticated FRESH_SIGN_IN_REQUIRED';
  return isExchanged ? answer : (answerToKey ?? answer);
}

/** An API key, or an access token that it was exchanged for. */
interface KeyCaller {
  readonly name: string;
  readonly bearer: string;
  readonly isExchanged: boolean;
  /** What it is allowed at present. */
  readonly permissions: readonly Permission[];
  readonly owner: SignedIn;
}

/** Keys of an admin with each permission alone and with all, and one of a user who has lost the role that it takes. */
async function makeKeys({ kith, users, newKey }: Matrix): Promise<KeyCaller[]> {
  const [owner, fallen] = [await kith.user(Role.ADMIN), await kith.user(Role.EDITOR)];
  const callers: KeyCaller[] = [];
  const add = (name: string, of: SignedIn, { secret, accessToken }: NewKey, permissions: readonly Permission[]) => {
    callers.push({ name, bearer: secret, isExchanged: false, permissions, owner: of });
    callers.push({ name: `${name}, exchanged`, bearer: accessToken, isExchanged: true, permissions, owner: of });
  };
  for (const permission of ALL) add(permissionName(permission), owner, await newKey(owner, [permission]), [permission]);
  add('all permissions', owner, await newKey(owner, ALL), ALL);
  add('no permission', fallen, await newKey(fallen, [Permission.USERS_READ, Permission.ACTIVITY_READ]), []);
  await users.updateUser({ userId: fallen.user.id, role: Role.VIEWER });
  return callers;
}

/**
 * The keys to try on a method. What a key may do is decided by the method, in one place for all protocols and databases:
 * the first of them meets every key, the others those on both sides of the line.
 */
function keysFor(keys: readonly KeyCaller[], method: Method, isFirst: boolean): readonly KeyCaller[] {
  if (isFirst) return keys;
  const { value } = getOption(method, access).rule;
  const other = ALL.find((permission) => permission !== value);
  return keys.filter(
    ({ permissions: [first, ...more] }) => more.length > 0 || first === undefined || first === value || first === other,
  );
}

describe.each(databases)('on $name', (kind) => {
  let matrix: Matrix;
  let keys: readonly KeyCaller[];
  beforeAll(async () => {
    matrix = await startMatrix(kind);
    keys = await makeKeys(matrix);
  });
  afterAll(() => matrix[Symbol.asyncDispose]());

  describe.each(protocolsOn(kind))('$name', (protocol) => {
    let answerTo: Answers;
    beforeAll(() => {
      answerTo = answersOver(protocol, matrix.kith.address);
    });

    test.each(methodsOver(protocol))(
      '$name answers API keys by their permissions alone, and what they may read',
      async ({ method }) => {
        const { dump, refusedRequestOf, requestOf } = matrix;
        const [actual, expected]: Record<string, string>[] = [{}, {}];
        const told: string[] = [];
        const answer = async (key: KeyCaller, request: MessageInitShape<DescMessage>) => {
          actual![key.name] = await answerTo(method, `Bearer ${key.bearer}`, request, (message) => {
            told.push(...misread(method.output, message, key.permissions).map((what) => `${key.name}: ${what}`));
          });
          expected![key.name] = declaredForKey(method, key);
        };
        const isLetIn = (key: KeyCaller) => !/PERMISSION|REQUIRED/.test(declaredForKey(method, key));
        const request = await refusedRequestOf(method);
        const before = await dump();
        const tried = keysFor(keys, method, protocol.isFirst);
        for (const key of tried.filter((one) => !isLetIn(one))) await answer(key, request);
        expect(await dump()).toBe(before);
        for (const key of tried.filter(isLetIn)) await answer(key, await requestOf(method, key.owner));
        expect(actual).toEqual(expected);
        expect(told).toEqual([]);
      },
    );

    test.each(SELF_METHODS)('$name lets no API key in for being its owner', async ({ method, withId }) => {
      const { dump } = matrix;
      const before = await dump();
      const [actual, expected]: Record<string, string>[] = [{}, {}];
      const { rule } = getOption(method, access);
      for (const key of keys.filter(({ permissions }) => !permissions.includes(rule.value as Permission))) {
        for (const id of [key.owner.user.id, key.owner.user.id.toUpperCase()]) {
          actual![key.name] = await answerTo(method, `Bearer ${key.bearer}`, withId(id));
          expected![key.name] = declaredForKey(method, key);
        }
      }
      expect(actual).toEqual(expected);
      expect(await dump()).toBe(before);
    });
  });
});
