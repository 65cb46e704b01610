import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { withImports } from './files.ts';
import { Failure } from '../kernel/failure.ts';
import { reflection } from './reflection.ts';

const client = createClient(
  ServerReflection,
  createRouterTransport((router) => reflection(router, [UserService.file, ContactService.file])),
);

type Question = ServerReflectionResponse['originalRequest'] & object;

const bySymbol = (value: string, host = '') =>
  create(ServerReflectionRequestSchema, { host, messageRequest: { case: 'fileContainingSymbol', value } });

/** Asks on one stream. Throws what ended it; `answers` has what came before. */
async function ask(questions: Iterable<Question>, answers: ServerReflectionResponse[] = []) {
  async function* all() {
    yield* questions;
  }
  for await (const answer of client.serverReflectionInfo(all())) answers.push(answer);
  return answers;
}

function filesOf({ messageResponse }: ServerReflectionResponse): string[] {
  if (messageResponse.case !== 'fileDescriptorResponse') return [];
  return messageResponse.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

/** Why a stream was refused: without the interceptors that turn it into an answer, a Failure is a cause. */
async function failureOf(asked: Promise<unknown>): Promise<unknown> {
  try {
    await asked;
  } catch (error) {
    return error instanceof Error && error.cause instanceof Failure ? error.cause : error;
  }
  throw new Error('the stream was not refused');
}

const VALIDATE = 'buf/validate/validate.proto';

describe('on one stream', () => {
  test('what was sent is not repeated, but for the very file that is asked for', async () => {
    const [first, second, third, again] = await ask([
      bySymbol(UserService.typeName),
      bySymbol(ContactService.typeName),
      bySymbol('buf.validate.FieldRules'),
      bySymbol(UserService.typeName),
    ]);
    expect(filesOf(first!)).toContain(VALIDATE);
    expect(filesOf(first!)[0]).toBe(UserService.file.proto.name);
    expect(filesOf(second!)).toEqual([ContactService.file.proto.name, 'kith/contact/v1/contact.proto']);
    expect(filesOf(third!)).toEqual([VALIDATE]);
    expect(filesOf(again!)).toEqual([UserService.file.proto.name]);
  });

  test('answers take a million bytes at the most, whatever is asked', async () => {
    const answers: ServerReflectionResponse[] = [];
    const questions = Array.from({ length: 100 }, () => bySymbol('buf.validate.FieldRules'));
    expect(await failureOf(ask(questions, answers))).toBeDefined();
    const bytes = answers.reduce((sum, answer) => sum + toBinary(ServerReflectionResponseSchema, answer).length, 0);
    expect(bytes).toBeGreaterThan(500_000);
    expect(bytes).toBeLessThan(1_050_000);
  });

  test('200 questions may be asked, and no more', async () => {
    const questions = Array.from({ length: 200 }, () => bySymbol('kith.none'));
    expect((await ask(questions)).length).toBe(200);
    const answers: ServerReflectionResponse[] = [];
    await failureOf(ask([...questions, bySymbol('kith.none')], answers));
    expect(answers.length).toBe(200);
  });

  test('a question that is longer than any name is refused, since it is sent back', async () => {
    expect((await ask([bySymbol('a'.repeat(512))])).length).toBe(1);
    for (const question of [bySymbol('a'.repeat(513)), bySymbol('', 'h'.repeat(513))]) {
      const answers: ServerReflectionResponse[] = [];
      await failureOf(ask([question], answers));
      expect(answers).toEqual([]);
    }
  });
});

test('many streams that are read take their turns', async () => {
  const streams = await Promise.all(Array.from({ length: 50 }, () => ask([bySymbol(UserService.typeName)])));
  const count = withImports([UserService.file]).size;
  expect(new Set(streams.map(([answer]) => filesOf(answer!).length))).toEqual(new Set([count]));
});
