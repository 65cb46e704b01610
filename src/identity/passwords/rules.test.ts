import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { isCommonPassword } from './common-passwords.ts';
import { createPasswords, type Passwords } from './passwords.ts';
import { checkNewPassword, requireOtherPassword } from './rules.ts';

const refusal = (reason: string) => expect.objectContaining({ name: 'Failure', reason });

const ADA = { username: 'countess.ada', email: 'ada.king@analytical.example', name: 'Augusta Ada  Kíng' };

test.each([
  ['the username', 'countess.ada'],
  ['the username in another case', 'Countess.ADA'],
  ['the email address', 'ada.king@analytical.example'],
  ['the email address in another case', 'ADA.King@Analytical.Example'],
])('%s is no password', (_, password) => {
  expect(() => checkNewPassword(password, ADA)).toThrow(refusal('password_is_identifier'));
});

test.each([
  ['a common one', 'password'],
  ['a common one in another case', 'PassWord1'],
  ['a common one with a digit behind that is common too', 'qwerty123'],
  ['the last of the list', 'zzzzzzzzzzz'],
  ['the name in the email address', 'ada.king'],
  ['the name', 'Augusta Ada Kíng'],
  ['the name in another case, without blanks and accents', 'augustaADAking'],
  ['one letter over and over', 'a'.repeat(128)],
  ['one digit over and over', '0'.repeat(21)],
  ['an owl over and over', '🦉'.repeat(9)],
  ['letters in their order', 'abcdefghijklm'],
  ['digits in their order', '0123456789:;<'],
  ['digits backwards', '987654321'],
])('%s is guessed first: %j', (_, password) => {
  expect(() => checkNewPassword(password, ADA)).toThrow(refusal('password_too_common'));
});

test.each([
  ['a common one with more behind', 'password and another word'],
  ['a common one with digits behind that are not', 'baseball830417'],
  ['two common ones', 'dragon shadow'],
  ['part of the name', 'Augusta Ada'],
  ['the name with something in between', 'Augusta Ada of King'],
  ['letters of one kind', 'gkwtzmqx'],
  ['digits alone, out of order', '40718263559'],
  ['every other letter', 'acegikmoq'],
  ['blanks at the ends', '  password  '],
  ['two lines of the list', 'password\npassword1'],
  ['a line of its licence', '# Permission is hereby granted'],
  ['other alphabets', 'правильная лошадь'],
  ['emoji', '🦉🐎🔋📎🦉🐎🔋📎'],
  ['the longest', 'ab'.repeat(64)],
])('there is nothing wrong with %s', (_, password) => {
  expect(() => checkNewPassword(password, ADA)).not.toThrow();
});

test('a name of nothing but accents is no password of nothing', () => {
  expect(() => checkNewPassword('a good password', { ...ADA, name: '\u0301' })).not.toThrow();
});

test('the list holds more than the 3,000 of the permitted length that ASVS 5.0 6.2.4 asks for', () => {
  const list = readFileSync(new URL('common-passwords.txt', import.meta.url), 'utf8')
    .trim()
    .split('\n');
  expect(list.filter((line) => !line.startsWith('# ')).length).toBeGreaterThan(3000);
  const some = ['12345678', 'iloveyou', 'trustno1', 'letmein1', 'changeme', 'administrator', 'qwertyuiop', '1qaz2wsx'];
  expect(some.filter((password) => !isCommonPassword(password))).toEqual([]);
});

describe('a password that has to be changed', () => {
  const BY = { payer: 'address:192.0.2.1' };
  let passwords: Passwords;
  beforeAll(async () => {
    passwords = createPasswords();
  });

  test('does change', async () => {
    const present = await passwords.hash('zażółć gęślą jaźń', BY);
    const change = (next: string) => requireOtherPassword(passwords, present, next, BY);
    await expect(change('zażółć gęślą jaźń')).rejects.toThrow(refusal('password_unchanged'));
    await expect(change('zażółć gęślą jaźń'.normalize('NFD'))).rejects.toThrow(refusal('password_unchanged'));
    await expect(change('zażółć gęślą jaźń!')).resolves.toBeUndefined();
  });
});
