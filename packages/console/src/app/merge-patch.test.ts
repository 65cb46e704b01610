import { expect, test } from 'vitest';
import { formatJson, mergePatch, parseObject } from './merge-patch.ts';

const patchOf = (before: string, after: string) => {
  const patch = mergePatch(parseObject(before), parseObject(after));
  return patch === undefined ? undefined : JSON.stringify(patch);
};

test.for<[string, string, string, string | undefined]>([
  ['nothing', '{"a":1}', '{ "a": 1 }', undefined],
  ['a member that is new', '{}', '{"a":1}', '{"a":1}'],
  ['a member that is gone', '{"a":1,"b":2}', '{"b":2}', '{"a":null}'],
  ['a member inside another, and no more than that', '{"a":{"b":1,"c":2}}', '{"a":{"b":1,"c":3}}', '{"a":{"c":3}}'],
  ['an object in place of a value', '{"a":1}', '{"a":{"b":1}}', '{"a":{"b":1}}'],
  ['an array as a whole', '{"a":[1,2]}', '{"a":[2]}', '{"a":[2]}'],
  ['numbers as they are written', '{"a":1}', '{"a":12345678901234567890.10}', '{"a":12345678901234567890.10}'],
  ['a number that is written otherwise', '{"a":1}', '{"a":1.0}', '{"a":1.0}'],
  ['members that objects have by themselves', '{}', '{"__proto__":1,"toString":2}', '{"__proto__":1,"toString":2}'],
  ['all of it', '{"a":1}', '', '{"a":null}'],
])('a patch changes %s', ([, before, after, expected]) => {
  expect(patchOf(before, after)).toBe(expected);
});

test.for(['[]', '1', 'null', '{', '"text"'])('what is no object is refused: %s', (text) => {
  expect(() => parseObject(text)).toThrow(SyntaxError);
});

test('what is shown has the numbers as they are written', () => {
  expect(formatJson('{"a":{"b":1e400}}')).toBe('{\n  "a": {\n    "b": 1e400\n  }\n}');
  expect(formatJson('')).toBe('');
});
