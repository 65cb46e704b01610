import { describe, expect, test } from 'vitest';
import { judge, LATE, LIMITS, type Observation, percentile } from './verdict.ts';

const MB = 2 ** 20;

const GOOD: Observation = {
  shape: { name: 'a shape', isFlood: false, expects: [/FIELD_UNKNOWN/] },
  tally: {
    requests: 10,
    outcomes: { 'INVALID_ARGUMENT/FIELD_UNKNOWN': 10 },
    bytesSent: 1,
    bytesReceived: 1,
    missed: [],
  },
  experience: {
    callsMs: Array.from({ length: 100 }, (_, i) => i / 2),
    signInsMs: [100],
    refused: {},
    written: 20,
    watch: { missing: 0, repeated: 0, ended: undefined },
  },
  idleP99Ms: 8,
  ended: undefined,
  peakRssBytes: 300 * MB,
  liveBeforeBytes: 60 * MB,
  liveAfterBytes: 70 * MB,
  faults: [],
  troubles: [],
};

const experience = (change: object) => ({ experience: { ...GOOD.experience!, ...change } });
const outcomes = (outcomes: Record<string, number>) => ({ tally: { ...GOOD.tally!, outcomes } });
const slow = (ms: number) => experience({ callsMs: [...Array.from({ length: 98 }, () => 5), ms, ms] });

describe('what is judged', () => {
  test('nothing is broken where all held', () => {
    expect(judge(GOOD, LIMITS)).toEqual([]);
  });

  test.each<[string, Partial<Observation>, RegExp]>([
    ['a process that ended', { ended: 'SIGABRT' }, /the process ended: SIGABRT/],
    ['too much in memory', { peakRssBytes: 401 * MB }, /401 MiB resident, of 400 MiB/],
    ['memory that does not come back', { liveAfterBytes: 93 * MB }, /33 MiB more live than before/],
    ['a fault in the log', { faults: ['log: TypeError'] }, /TypeError/],
    ['an attacker that hung', { troubles: ['the attacker: no end'] }, /no end/],
    [
      'INTERNAL',
      outcomes({ 'INVALID_ARGUMENT/FIELD_UNKNOWN': 1, 'INTERNAL/INTERNAL': 2 }),
      /answered INTERNAL\/INTERNAL, 2 times/,
    ],
    ['a bare 500', outcomes({ 'INVALID_ARGUMENT/FIELD_UNKNOWN': 1, 'HTTP 500': 1 }), /answered HTTP 500/],
    ['an attack that did not arrive', outcomes({ 'UNAUTHENTICATED/ACCESS_TOKEN_MISSING': 9 }), /did not arrive/],
    ['a method that was left out', { tally: { ...GOOD.tally!, missed: ['/a.B/C'] } }, /not called: \/a.B\/C/],
    [
      'a well-behaved call refused',
      experience({ refused: { 'GetUser: Unavailable': 1 } }),
      /well-behaved, 1 times: GetUser/,
    ],
    ['a well-behaved call unanswered', experience({ refused: { [`Login: ${LATE}`]: 1 } }), /no answer in time/],
    ['an event missed', experience({ watch: { missing: 1, repeated: 0, ended: undefined } }), /missed 1 of 20 events/],
    ['an event repeated', experience({ watch: { missing: 0, repeated: 1, ended: undefined } }), /1 events twice/],
    ['a watch that ended', experience({ watch: { missing: 0, repeated: 0, ended: 'Unavailable' } }), /the watch ended/],
    ['calls that became slow', slow(51), /p99 51 ms, of 50 ms/],
    ['a slow sign-in', experience({ signInsMs: [10, 1001] }), /signing in took 1001 ms/],
  ])('%s', (_what, change, message) => {
    expect(judge({ ...GOOD, ...change }, LIMITS)).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    [20, false, 99, true],
    [20, false, 101, false],
    [20, true, 199, true],
    [20, true, 201, false],
    [1, false, 49, true],
  ])(
    'with an idle p99 of %i ms, flood %s, a p99 of %i ms is within its bound: %s',
    (idleP99Ms, isFlood, ms, isGood) => {
      const seen = { ...GOOD, ...slow(ms), idleP99Ms, shape: { ...GOOD.shape, isFlood } };
      expect(judge(seen, LIMITS).length === 0).toBe(isGood);
      expect(judge(seen, { ...LIMITS, judgesTime: false })).toEqual([]);
    },
  );

  test('an answer in time is no fault, nor is a method that there is not', () => {
    const answers = {
      'INVALID_ARGUMENT/FIELD_UNKNOWN': 1,
      'UNIMPLEMENTED/METHOD_UNKNOWN': 1,
      'HTTP 505': 1,
      'HTTP 404': 1,
    };
    expect(judge({ ...GOOD, ...outcomes(answers) }, LIMITS)).toEqual([]);
  });
});

test.each([
  [[], 99, 0],
  [[7], 99, 7],
  [[3, 1, 2], 50, 2],
  [Array.from({ length: 200 }, (_, i) => i + 1), 99, 198],
])('the percentile of %j', (values, percent, expected) => {
  expect(percentile(values, percent)).toBe(expected);
});
