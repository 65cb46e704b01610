import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { errorText, reasonTexts, violationText } from './error-texts.ts';
import { ErrorDetailSchema, ErrorReason, ErrorReasonSchema, StatusCodeSchema } from './gen/kith/error/v1/error_pb.ts';
import { KithError, reasons } from './kith-error.ts';

const errorWith = (reason: number, code = Code.NotFound) =>
  new KithError(new ConnectError('for developers', code, undefined, [{ desc: ErrorDetailSchema, value: { reason } }]));

describe.each(['en', 'de'] as const)('in %s', (language) => {
  const failed = errorText(errorWith(9999, Code.DataLoss), language);

  test('every reason of the contract is known, and has a text of its own or that of its code', () => {
    const names = ErrorReasonSchema.values.map(({ name }) => name.replace('ERROR_REASON_', ''));
    expect(reasons.toSorted()).toEqual(names.filter((name) => name !== 'UNSPECIFIED').toSorted());
    for (const { number } of ErrorReasonSchema.values) {
      const text = errorText(errorWith(number), language);
      expect(text).toMatch(/^[A-ZÄÖÜ].*\.$/);
      expect(text).not.toBe(failed);
    }
    const denied = errorText(errorWith(ErrorReason.PERMISSION_MISSING, Code.PermissionDenied), language);
    expect(denied).toBe(errorText(errorWith(9999, Code.PermissionDenied), language));
  });

  test('every status code of the contract has a text', () => {
    const codes = StatusCodeSchema.values.filter(({ number }) => number !== 0);
    expect(codes.filter(({ number }) => errorText(errorWith(9999, number), language) === failed)).toEqual([]);
  });

  test('the reasons with a text of their own are those of the other language', () => {
    expect(Object.keys(reasonTexts[language])).toEqual(Object.keys(reasonTexts.en));
  });

  test('every reason says more than its code does, but for two', () => {
    expect(reasons.filter((reason) => !(reason in reasonTexts[language]))).toEqual(['CANCELED', 'PERMISSION_MISSING']);
  });

  test('a reason that this client does not know has the text of its code', () => {
    const [of, other] = [errorWith(9999, Code.NotFound), errorWith(9999, Code.DataLoss)];
    expect(of.reason).toBeUndefined();
    expect(errorText(of, language)).not.toBe(errorText(other, language));
    expect(failed).toMatch(/\.$/);
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
