import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { RoleSchema } from '../../gen/kith/access/v1/role_pb.ts';
import { ErrorReason, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { Failure } from '../kernel/failure.ts';
import { explained, readReasons, reasonOf, toConnectError } from './errors.ts';

const REASONS = readReasons(ErrorReasonSchema);

test('a failure has the status code that the contract declares for its reason', () => {
  const error = toConnectError(new Failure('etag_mismatch', 'read it again', { is: '2' }));
  expect([error.code, reasonOf(error)]).toEqual([Code.Aborted, ErrorReason.ETAG_MISMATCH]);
});

test('a failure that says when to come back has it as the header retry-after too, and no other failure has one', () => {
  const busy = new Failure('server_busy', 'try again in 7 s', { retry_after_seconds: '7' });
  expect(toConnectError(busy).metadata.get('retry-after')).toBe('7');
  expect(toConnectError(new Failure('etag_mismatch', 'read it again')).metadata.has('retry-after')).toBe(false);
});

test('every reason of the contract but the unspecified one has a status code', () => {
  expect(Object.values(REASONS).map(({ reason }) => reason)).toEqual(
    ErrorReasonSchema.values.map(({ number }) => number).filter((number) => number !== 0),
  );
});

test('a server does not start with a reason that declares no status code', () => {
  expect(() => readReasons(RoleSchema)).toThrow('ROLE_VIEWER declares no (kith.error.v1.status_code)');
});

const CONNECTS = [
  Code.InvalidArgument,
  Code.ResourceExhausted,
  Code.Unimplemented,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unavailable,
  Code.Internal,
];

test.each(CONNECTS.map((code) => [Code[code], code] as const))(
  "an error of Connect's own with the code %s has a reason of that code",
  (_, code) => {
    const error = explained(new ConnectError('no', code));
    expect(Object.values(REASONS).find(({ reason }) => reason === reasonOf(error))).toMatchObject({ code });
  },
);
