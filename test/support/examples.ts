import { randomUUID } from 'node:crypto';
import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  getOption,
  ScalarType,
} from '@bufbuild/protobuf';
import { field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { expect } from 'vitest';
import { access } from '../../gen/kith/access/v1/access_pb.ts';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { SERVICES } from '../../src/services.ts';
import type { Cast, Example, MakeExample, ServiceExamples } from './example.ts';
import type { Kith, SignedIn } from './kith.ts';
import { permissionsOf } from './roles.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** The examples that stand beside the slices. */
const WRITTEN: ReadonlyMap<DescMethod, MakeExample> = new Map(
  (await Promise.all(globSync('src/**/examples.testkit.ts', { cwd: ROOT }).map((file) => load(resolve(ROOT, file)))))
    .flat()
    .flatMap(({ service, examples }) =>
      service.methods.flatMap((method) => {
        const example = examples[method.localName];
        return example === undefined ? [] : [[method, example] as const];
      }),
    ),
);

async function load(file: string): Promise<ServiceExamples[]> {
  return Object.values((await import(file)) as Record<string, ServiceExamples>);
}

/** Makes an example of a method: the one that is written beside its slice, or one that is derived from the contract. */
export function exampleOf(method: DescMethod): MakeExample {
  return WRITTEN.get(method) ?? ((cast) => derive(method, cast));
}

/**
 * Derives an example from the contract. Ids are those of a user, or of what the service's own Create method makes for the
 * caller, which the answer must hold if it can hold it. A Create method itself is called with every plain text, which the
 * answer must repeat. Other fields are left out, so a method that requires one needs a written example.
 */
export async function derive(method: DescMethod, cast: Cast): Promise<Example> {
  const caller = await cast.caller(roleFor(method));
  const request: Record<string, unknown> = {};
  let answer: object = {};
  const create = method.parent.methods.find((other) => isCreateFor(other, method));
  if (create !== undefined) {
    const { noun, message } = createdBy(create)!;
    const made = await make(create, { ...cast, caller: async () => caller });
    for (const { name, localName } of method.input.fields) {
      if (name === `${noun}_id`) request[localName] = made.id;
      if (name === 'etag') request[localName] = made.etag;
    }
    answer = answerWith(method, message, made.id);
  }
  const creates = createdBy(method);
  if (creates !== undefined) {
    const plain = method.input.fields.filter(isPlainText);
    const texts = Object.fromEntries(plain.map(({ localName }) => [localName, `Any ${randomUUID().slice(0, 8)}`]));
    Object.assign(request, texts);
    const repeated = creates.message.fields.filter(({ localName }) => localName in texts);
    const shown = Object.fromEntries(repeated.map(({ localName }) => [localName, texts[localName]]));
    answer = { [creates.localName]: { id: expect.any(String), ...shown } };
  }
  for (const { name, localName } of method.input.fields) {
    if (name === 'user_id') request[localName] = (await cast.subject()).user.id;
    if (name === 'request_id') request[localName] = randomUUID();
  }
  return { accessToken: caller.accessToken, request, answer };
}

/** Whether a field is a text of any form. */
function isPlainText(field: DescField): boolean {
  if (field.scalar !== ScalarType.STRING || field.fieldKind !== 'scalar' || /(^|_)id$/.test(field.name)) return false;
  const { type } = getOption(field, fieldRules);
  if (type.case !== 'string') return true;
  const { wellKnown, pattern, in: allowed, minLen, maxLen } = type.value;
  const isOfAnyForm = wellKnown.case === undefined && pattern === '' && allowed.length === 0;
  return isOfAnyForm && minLen <= 12n && (maxLen === 0n || maxLen >= 12n);
}

/** The least role that is let in. */
function roleFor(method: DescMethod): Role {
  const { rule } = getOption(method, access);
  const roles = [Role.VIEWER, Role.EDITOR, Role.ADMIN] as const;
  return roles.find((role) => rule.case !== 'permission' || permissionsOf(role).includes(rule.value))!;
}

interface Created {
  readonly noun: string;
  readonly localName: string;
  readonly message: DescMessage;
}

/** What a Create method makes: the one message of its answer that has an id. */
function createdBy({ name, output }: DescMethod): Created | undefined {
  const made = output.fields.find(({ message }) => message?.fields.some((field) => field.name === 'id'));
  if (!name.startsWith('Create') || made?.message === undefined) return undefined;
  return { noun: made.name, localName: made.localName, message: made.message };
}

/** Whether a method is about what another makes: its request names the id, or it lists them. */
function isCreateFor(create: DescMethod, method: DescMethod): boolean {
  const made = createdBy(create);
  if (made === undefined || method === create) return false;
  return (
    method.input.fields.some(({ name }) => name === `${made.noun}_id`) ||
    method.output.fields.some(({ fieldKind, message }) => fieldKind === 'list' && message === made.message)
  );
}

async function make(create: DescMethod, cast: Cast): Promise<{ id: string; etag?: string }> {
  const { request, accessToken } = await exampleOf(create)(cast);
  const client = cast.kith.client(create.parent, accessToken) as Record<string, (request: object) => Promise<object>>;
  const answer = (await client[create.localName]!(request)) as Record<string, { id: string; etag?: string }>;
  return answer[createdBy(create)!.localName]!;
}

/** What an answer matches that holds a message with this id. */
function answerWith(method: DescMethod, message: DescMessage, id: string): object {
  const field = method.output.fields.find((candidate) => candidate.message === message);
  if (field === undefined) return {};
  const one = expect.objectContaining({ id });
  return { [field.localName]: field.fieldKind === 'list' ? expect.arrayContaining([one]) : one };
}

/** People of a server for one example: the administrator, or users of its own. */
export function castOf(kith: Kith): Cast {
  return {
    kith,
    caller: (role): Promise<SignedIn> => (role === Role.ADMIN ? kith.admin() : kith.user(role)),
    subject: () => kith.user(),
  };
}

/** Checks an answer for substance, then its effect. */
export async function expectAnswer(answer: unknown, example: Example): Promise<void> {
  expect(answer).toMatchObject(example.answer);
  for (const path of example.absent ?? []) expect(answer).not.toHaveProperty(path);
  await example.verify?.();
}

/** Every unary rpc that is served, by `package.Service/Method`, with good examples of it. */
export const exampledMethods: readonly {
  readonly name: string;
  readonly method: DescMethodUnary;
  readonly example: (kith: Kith) => Promise<Example>;
}[] = SERVICES.flatMap((service) =>
  service.methods.filter(isUnary).map((method) => ({
    name: `${service.typeName}/${method.name}`,
    method,
    example: (kith: Kith) => exampleOf(method)(castOf(kith)),
  })),
);

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === 'unary';
}
