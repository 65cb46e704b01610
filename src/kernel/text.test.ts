import { describe, expect, test } from 'vitest';
import { databases } from '../../test/support/databases.ts';
import { generator } from '../../test/support/generator.ts';
import { openDatabase } from '../storage/database.ts';
import {
  compact,
  cut,
  endOfPrefix,
  fold,
  identifierKey,
  isVisible,
  PLACES_MAX,
  queryWords,
  searchTerm,
  trimEnds,
  withoutPassword,
  wordTerms,
} from './text.ts';

describe('fold', () => {
  test.each([
    ['Ada Lovelace', 'ada lovelace'],
    ['  Ada \t\n Lovelace\u00A0\u3000 ', 'ada lovelace'],
    ['José', 'jose'],
    ['Jose\u0301', 'jose'],
    ['ŁÓDŹ', 'lodz'],
    ['Đặng Ðóra Øre Ħal Æsop Œuvre Þór', 'dang dora ore hal aesop oeuvre thor'],
    ['\u200EAda\u00AD\u200D\uFEFF\u2060', 'ada'],
    ['O’Hara O‘Hara Oʼ`', "o'hara o'hara o''"],
    ['“Ada” „x« »', '"ada" "x" "'],
    ['a‐b‑c–d—e−f－g', 'a-b-c-d-e-f-g'],
    ['Straße', 'strasse'],
    ['STRAẞE', 'strasse'],
    ['İstanbul', 'istanbul'],
    ['ıI', 'ii'],
    ['ΟΔΥΣΣΕΥΣ', 'οδυσσευσ'],
    ['Ὀδυσσεύς', 'οδυσσευσ'],
    ['ﬁ Ⅷ ２ ｆ ㎏ ™', 'fi viii 2 f kg tm'],
    ['Юрий', 'юрии'],
    ['٠٣٠ ۱۲ ๙', '030 12 9'],
    ['王小明', '王小明'],
    ['🦉', '🦉'],
    ['❤️', '❤'],
    ['', ''],
    ['\u0301', ''],
  ])('turns "%s" into "%s"', (text, folded) => {
    expect(fold(text)).toBe(folded);
  });

  test('gives every character the same in upper and lower case, and once is enough', () => {
    const wrong: string[] = [];
    for (let code = 0; code <= 0x10ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      // Iota subscript is an accent in lower case and a letter in upper case.
      const text = `a${String.fromCodePoint(code)}b`;
      const bare = text.normalize('NFKD');
      if (bare.includes('\u0345')) continue;
      const folded = fold(text);
      if ([bare.toUpperCase(), bare.toLowerCase(), folded].some((same) => fold(same) !== folded)) {
        wrong.push(code.toString(16));
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('searchTerm', () => {
  test('keeps 100 code units and no half of a character', () => {
    expect(searchTerm('a'.repeat(150))).toBe('a'.repeat(100));
    expect(searchTerm('ß'.repeat(60))).toBe('s'.repeat(100));
    expect(searchTerm(`${'a'.repeat(99)}😀`)).toBe('a'.repeat(99));
    expect(searchTerm(`${'a'.repeat(98)}😀b`)).toBe(`${'a'.repeat(98)}😀`);
  });

  test('of a beginning is a beginning of the term', () => {
    const random = generator(1);
    for (let round = 0; round < 5000; round++) {
      const characters = Array.from(random.text(120));
      const beginning = characters.slice(0, random.below(characters.length + 1)).join('');
      const [term, query] = [searchTerm(characters.join('')), searchTerm(beginning)];
      expect({ beginning, term: term.slice(0, query.length) }).toEqual({ beginning, term: query });
    }
  });
});

describe('cut', () => {
  test.each([
    ['abc', 5, 'abc'],
    ['abc', 2, 'ab'],
    ['a😀', 2, 'a'],
    ['a😀', 3, 'a😀'],
    ['😀', 0, ''],
  ])('"%s" to %d gives "%s"', (text, length, expected) => {
    expect(cut(text, length)).toBe(expected);
  });
});

describe('wordTerms', () => {
  test.each([
    ['Ada', ['ada']],
    ['Ada  King Lovelace', ['ada', 'king', 'lovelace']],
    ['Jean-Luc O’Hara', ['jean-luc', 'jeanluc', 'luc', "o'hara", 'ohara', 'hara']],
    ['Smith & Sons (Ltd.)', ['smith', '&', 'sons', '(ltd.)', 'ltd.)']],
    ['王小明', ['王小明', '小明', '明']],
    ['สมชาย', ['สมชาย', 'มชาย', 'ชาย', 'าย', 'ย']],
    ['ﾔﾏﾀﾞ', ['ヤマタ', 'マタ', 'タ']],
    ['', []],
    [' \u0301 ', []],
  ])('of "%s"', (text, terms) => {
    expect(wordTerms(text)).toEqual(terms);
  });
});

test('wordTerms has bounds', () => {
  const words = Array.from({ length: 100 }, (_, n) => `w${n}`).join(' ');
  expect(wordTerms(words)).toHaveLength(PLACES_MAX);
  expect(wordTerms(words, 2)).toEqual(['w0', 'w1']);
  expect(wordTerms('王'.repeat(200)).length).toBeLessThanOrEqual(PLACES_MAX);
  expect(wordTerms('a'.repeat(200))).toEqual(['a'.repeat(100)]);
});

describe('queryWords', () => {
  test.each([
    ['', []],
    ['ada', ['ada']],
    ['ada lovelace', ['lovelace', 'ada']],
    ['lovelace, ada', ['lovelace', 'ada']],
    ['"ada" (king)', ['king', 'ada']],
    ['ada a ad adam', ['adam']],
    ['... (', ['...', '(']],
    ['a b c d e f g h i j', ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']],
    ['x@y.example _z', ['x@y.example', '_z']],
  ])('of "%s"', (query, words) => {
    expect(queryWords(query)).toEqual(words);
  });
});

test('identifierKey knows no case', () => {
  expect(identifierKey('Ada.L@Example.ORG')).toBe('ada.l@example.org');
});

describe.each(databases)('on $name', ({ create }) => {
  test('every beginning of a term finds it, and nothing else does', async () => {
    await using database = await create();
    await using opened = await openDatabase(database.url);
    const { db } = opened;
    const random = generator(2);
    const terms = new Set(Array.from({ length: 300 }, () => searchTerm(random.text(12))).filter(Boolean));
    // The ids of signing keys are compared as terms are, and belong to nobody.
    const rows = Array.from(terms, (kid) => ({
      kid,
      public_key: '',
      private_key_sealed: '',
      create_ms: 0,
      activate_ms: 0,
    }));
    await db.insertInto('signing_keys').values(rows).execute();
    const found = async (query: string) => {
      const matching = db
        .selectFrom('signing_keys')
        .select('kid')
        .where('kid', '>=', query)
        .where('kid', '<', endOfPrefix(query));
      return (await matching.execute()).map(({ kid }) => kid).toSorted();
    };
    for (const term of terms) {
      const characters = Array.from(term);
      const query = characters.slice(0, 1 + random.below(characters.length)).join('');
      const expected = Array.from(terms)
        .filter((other) => other.startsWith(query))
        .toSorted();
      expect({ query, found: await found(query) }).toEqual({ query, found: expected });
    }
  });
});

test.each([
  ['scheme://u:secret@h/d', 'secret'],
  ['scheme://u:se/cret@h/d', 'cret'],
  ['scheme://u:se@cret@h/d', 'cret'],
  ['scheme://h/d?user=u&password=secret', 'secret'],
])('%s is shown without its password', (url, secret) => {
  expect(withoutPassword(url)).not.toContain(secret);
  expect(withoutPassword(url)).toContain('scheme://');
});

describe('isVisible', () => {
  test.each([
    '',
    ' \t\u00A0\u3000\u2028',
    '\u3164',
    '\uFFA0',
    '\u115F\u1160',
    '\u2800\u2800',
    '\u034F',
    '\uFE0F',
    '\u{E0100}',
    '\u0301',
    ' \u0301',
    '\u00A0\u20DD',
    '\u200B\u200D\u2060\uFEFF',
    '\u00AD',
    '\u061C\u180E',
    '\u{1D159}',
    '\u{13441}',
    '\uFFFC',
  ])('says no of %j', (text) => {
    expect(isVisible(text)).toBe(false);
  });

  test.each([
    'a',
    '\u3164a',
    'é',
    'e\u0301',
    '王',
    '한',
    '\u1112\u1161\u11AB',
    '🦉',
    '❤️',
    '-',
    '1',
    '\uE000',
    'ʼ',
    '々',
  ])('says yes of %j', (text) => {
    expect(isVisible(text)).toBe(true);
  });
});

describe('trimEnds and compact', () => {
  test.each([
    ['ada', 'ada', 'ada'],
    ['  Ada  Lovelace \n', 'Ada  Lovelace', 'AdaLovelace'],
    ['\u3000\u00A0\uFEFF1k7q-x0bd\u200B', '1k7q-x0bd', '1k7qx0bd'],
    ['\u2013 \u2014', '\u2013 \u2014', ''],
    [' \u3000', '', ''],
    ['\0a\0', '\0a\0', '\0a\0'],
    ['🦉 ', '🦉', '🦉'],
  ])('of %j', (text, trimmed, compacted) => {
    expect([trimEnds(text), compact(text)]).toEqual([trimmed, compacted]);
  });

  test('take no longer than in proportion to the text', () => {
    const text = `a${' '.repeat(1_000_000)}b`;
    expect(trimEnds(text)).toBe(text);
    expect(compact(text)).toBe('ab');
  });
});
