import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { type CallLine, createCallLog } from './call-log.ts';

const LINE: CallLine = {
  requestId: 'a-request.1:2/3+4=',
  rpc: 'kith.user.v1.UserService/GetUser',
  protocol: 'grpc-web',
  code: 'ok',
  reason: undefined,
  caller: undefined,
  durationMs: 0.125,
  trace_id: undefined,
  span_id: undefined,
};
const REFUSED: CallLine = {
  ...LINE,
  code: 'not_found',
  reason: 'USER_NOT_FOUND',
  caller: '019a0000-0000-7000-8000-000000000000',
  durationMs: 1500,
};

/** A log, and the lines that it wrote. */
function logging(options: pino.LoggerOptions = {}) {
  const lines: string[] = [];
  const log = pino(
    { timestamp: () => ',"time":"now"', ...options },
    { write: (line: string) => void lines.push(line) },
  );
  return { log, lines };
}

describe('a line', () => {
  test.each([
    ['that went well', LINE],
    ['that was refused', REFUSED],
    ['with a request id that has to be escaped', { ...LINE, requestId: 'a "quoted"\\\n\u2028\ud800 one' }],
    ['with a caller that has to be escaped', { ...REFUSED, caller: 'no"body' }],
    [
      'that is part of a trace',
      { ...REFUSED, trace_id: '4bf92f3577b34da6a3ce929d0e0e4736', span_id: '00f067aa0ba902b7' },
    ],
    ['with an empty request id', { ...LINE, requestId: '' }],
  ])('of a call %s is the one that pino would write', (_, line) => {
    for (const options of [
      {},
      { base: null },
      { base: { worker: 2 } },
      { formatters: { level: (level: string) => ({ level }) } },
    ]) {
      const { log, lines } = logging(options);
      createCallLog(log, 1).info(line);
      log.info(line, 'call');
      expect(lines[0]).toBe(lines[1]);
    }
  });

  test('of a child of a log says what the child says', () => {
    const { log, lines } = logging();
    createCallLog(log.child({ of: 'a "child"' }), 1).info(LINE);
    expect(JSON.parse(lines[0]!)).toMatchObject({ of: 'a "child"', requestId: LINE.requestId });
  });

  test.each(['warn', 'error'] as const)('of a call that failed (%s) holds the error', (level) => {
    const { log, lines } = logging({ level: 'warn' });
    createCallLog(log, 1)[level](REFUSED, new Error('the disk is gone'));
    const { err, msg, code } = JSON.parse(lines[0]!) as { err: { message: string }; msg: string; code: string };
    expect({ message: err.message, msg, code }).toEqual({
      message: 'the disk is gone',
      msg: 'call failed',
      code: 'not_found',
    });
  });
});

test.each(['warn', 'error', 'silent'])(
  'a log of level %s has no lines of calls that went well or were refused',
  (level) => {
    const { log, lines } = logging({ level });
    const calls = createCallLog(log, 1);
    expect(calls.takesNext()).toBe(false);
    calls.info(REFUSED);
    expect(lines).toEqual([]);
  },
);

test.each([
  [1, [true, true, true, true]],
  [3, [true, false, false, true, false, false, true]],
])('one call in %i has a line, the first one', (oneIn, expected) => {
  const calls = createCallLog(logging().log, oneIn);
  expect(expected.map(() => calls.takesNext())).toEqual(expected);
});
