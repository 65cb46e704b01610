import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { errorText, reasonTexts, violationText } from './error-texts.ts';
import { ErrorDetailSchema, ErrorReason, ErrorReasonSchema } from './gen/kith/error/v1/error_pb.ts';
import { KithError, reasons } from './kith-error.ts';

const errorWith = (reason: number, code = Code.NotFound) =>
  new KithError(new ConnectError('for developers', code, undefined, [{ desc: ErrorDetailSchema, value: { reason } }]));

describe.each(['en', 'de'] as const)('in %s', (language) => {
  test('every reason of the contract has a text of its own', () => {
    const names = ErrorReasonSchema.values.map(({ name }) => name.replace('ERROR_REASON_', ''));
    const known = names.filter((name) => name !== 'UNSPECIFIED').toSorted();
    expect(reasons.toSorted()).toEqual(known);
    expect(Object.keys(reasonTexts[language]).toSorted()).toEqual(known);
    for (const text of Object.values(reasonTexts[language])) expect(text).toMatch(/^[A-ZÄÖÜ].*\.$/);
  });

  test('a reason that this client does not know has the text of its code', () => {
    const [of, other] = [errorWith(9999, Code.NotFound), errorWith(9999, Code.DataLoss)];
    expect(of.reason).toBeUndefined();
    expect(errorText(of, language)).not.toBe(errorText(other, language));
    expect(errorText(other, language)).toMatch(/\.$/);
  });

  test('a rule that this client does not know has a text as well', () => {
    const text = violationText({ field: 'x', rule: 'a.rule.of.tomorrow', message: '' }, language);
    expect(text).toMatch(/\.$/);
  });
});

test('texts can be replaced, by reason, by code and by rule', () => {
  const texts = { USER_NOT_FOUND: 'Nobody.', NotFound: 'Nothing.', 'string.email': 'Hm.' };
  expect(errorText(errorWith(ErrorReason.USER_NOT_FOUND), 'en', texts)).toBe('Nobody.');
  expect(errorText(errorWith(9999), 'de', texts)).toBe('Nothing.');
  expect(violationText({ field: 'email', rule: 'string.email', message: '' }, 'de', texts)).toBe('Hm.');
});
