import { type DescField, type DescMethodUnary, getOption, hasOption, ScalarType } from '@bufbuild/protobuf';
import { ConnectError, type Transport } from '@connectrpc/connect';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { required_permission } from '../gen/kith/access/v1/access_pb.ts';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import {
  type Answers,
  answersOver,
  declared,
  type Matrix,
  protocolsOn,
  SELF_METHODS,
  setField,
  startMatrix,
} from './support/access-matrix.ts';
import { databases } from './support/databases.ts';
import { type Kith, type Refusal, refusalOf } from './support/kith.ts';
import { permissionName } from './support/roles.ts';

describe.each(databases)('on $name', (kind) => {
  let matrix: Matrix;
  beforeAll(async () => {
    matrix = await startMatrix(kind);
  });
  afterAll(() => matrix[Symbol.asyncDispose]());

  describe.each(protocolsOn(kind))('$name', (protocol) => {
    let answerTo: Answers;
    let transport: Transport;
    beforeAll(() => {
      transport = protocol.transport(matrix.kith.address);
      answerTo = answersOver(protocol, matrix.kith.address);
    });

    describe.each(SELF_METHODS)('$name', ({ method, field, answer, withId }) => {
      test('lets callers in for themselves, however the id is written', async () => {
        const { viewer, editor, admin } = matrix;
        const answers = new Set<string>();
        for (const { user, accessToken } of [viewer, editor, admin]) {
          for (const id of [user.id, user.id.toUpperCase()]) {
            answers.add(await answerTo(method, `Bearer ${accessToken}`, withId(id)));
          }
        }
        expect([...answers]).toEqual([answer]);
      });

      test('takes nothing else for the own id', async () => {
        const { viewer, admin, dump, newUser } = matrix;
        const { id } = viewer.user;
        const others = [
          (await newUser()).id,
          admin.user.id,
          '',
          ` ${id}`,
          `${id} `,
          `${id}\0`,
          `{${id}}`,
          `urn:uuid:${id}`,
          id.replaceAll('-', ''),
          '*',
          '%',
        ];
        const before = await dump();
        const letIn: string[] = [];
        for (const other of others) {
          const outcome = await answerTo(method, `Bearer ${viewer.accessToken}`, withId(other));
          if (outcome !== declared(method, Role.VIEWER)) letIn.push(other);
        }
        expect(letIn).toEqual([]);
        expect(await dump()).toBe(before);
      });

      const guarded = method.input.fields.filter((candidate) => hasOption(candidate, required_permission));
      const open = method.input.fields.filter((candidate) => candidate !== field && !guarded.includes(candidate));

      test.each(guarded)('does not let callers set their own $name', async (guardedField) => {
        const { viewer, editor, dump } = matrix;
        const before = await dump();
        const answers = new Set<string>();
        for (const { user, accessToken } of [viewer, editor]) {
          for (const value of valuesOf(guardedField)) {
            const alone = setField(withId(user.id), method.input, guardedField, value);
            answers.add(await answerTo(method, `Bearer ${accessToken}`, alone));
            const beside = setField(withId(user.id), method.input, guardedField, value);
            for (const other of open) setField(beside, method.input, other, valuesOf(other)[0]!);
            answers.add(await answerTo(method, `Bearer ${accessToken}`, beside));
          }
        }
        expect([...answers]).toEqual([
          `PermissionDenied FIELD_NEEDS_PERMISSION ${permissionName(getOption(guardedField, required_permission))}`,
        ]);
        expect(await dump()).toBe(before);
      });

      test.each(guarded)('names $name, which the caller may not set', async (guardedField) => {
        const { viewer } = matrix;
        const request = withId(viewer.user.id);
        setField(request, method.input, guardedField, valuesOf(guardedField)[0]!);
        const headers = { authorization: `Bearer ${viewer.accessToken}` };
        const { metadata } = await refusalOf(
          transport.unary(method as DescMethodUnary, undefined, undefined, headers, request),
        );
        expect(metadata).toEqual({
          field: guardedField.name,
          permission: permissionName(getOption(guardedField, required_permission)),
        });
      });
    });

    const BY_ID = ContactService.methods.filter(({ input }) => input.fields.some(({ name }) => name === 'contact_id'));

    test.each(BY_ID)('$name tells nobody, admins included, that somebody else has a contact', async (method) => {
      const { kith, viewer, editor, admin, dump } = matrix;
      const has = (field: string) => method.input.fields.some(({ name }) => name === field);
      const needed = { ...(has('version') && { version: 1 }), ...(has('image') && { image: new Uint8Array(9) }) };
      const live = await newContact(kith, editor.accessToken);
      const deleted = await newContact(kith, editor.accessToken);
      const mine = kith.client(ContactService, editor.accessToken);
      await mine.deleteContact({ contactId: deleted });
      const { etag } = (await mine.getContact({ contactId: live })).contact!;
      const before = await dump();
      for (const { accessToken } of [viewer, admin]) {
        const headers = { authorization: `Bearer ${accessToken}` };
        const ask = (request: Record<string, unknown>) =>
          fullRefusal(
            transport.unary(method as DescMethodUnary, undefined, undefined, headers, { ...needed, ...request }),
          );
        const missing = await ask({ contactId: live.replace(/.{12}$/, '0123456789ab') });
        expect(missing).toMatchObject({ code: 'NotFound', reason: 'CONTACT_NOT_FOUND' });
        for (const request of [
          { contactId: live },
          { contactId: live.toUpperCase() },
          { contactId: live, etag },
          { contactId: live, etag: 'x' },
          { contactId: deleted },
        ]) {
          expect(await ask(request)).toEqual(missing);
        }
      }
      expect(await dump()).toBe(before);
    });

    test('a list shows the contacts of the caller alone, whatever is asked for', async () => {
      const { kith, viewer, editor, admin } = matrix;
      const mark = `Mark${randomUUID().slice(0, 8)}`;
      await kith.client(ContactService, editor.accessToken).createContact({ givenName: mark });
      for (const [{ accessToken }, count] of [
        [viewer, 0],
        [admin, 0],
        [editor, 1],
      ] as const) {
        const request = { query: mark, includeTotalSize: true };
        const { contacts, totalSize } = await kith.client(ContactService, accessToken).listContacts(request);
        expect([contacts.length, totalSize]).toEqual([count, count]);
      }
    });
  });
});

async function newContact(kith: Kith, accessToken: string): Promise<string> {
  return (await kith.client(ContactService, accessToken).createContact({ givenName: 'Ada' })).contact!.id;
}

/** A refusal with all that was sent along, but for what differs with every call. */
async function fullRefusal(call: Promise<unknown>): Promise<Refusal & { headers: object }> {
  const error: unknown = await call.catch((thrown: unknown) => thrown);
  const headers = Object.fromEntries(ConnectError.from(error).metadata);
  delete headers['date'];
  delete headers['x-request-id'];
  return { ...(await refusalOf(call)), headers };
}

/** A value that the field could hold, and its zero value. */
function valuesOf(field: DescField): readonly (string | number | boolean)[] {
  if (field.scalar === ScalarType.BOOL) return [true, false];
  return field.fieldKind === 'enum' ? [2, 0] : ['something', ''];
}
