import { describe, expect, test } from 'vitest';
import { generator } from '../../../test/support/generator.ts';
import { type Card, EMPTY_CARD } from './card.ts';
import { someCard } from './cards.testkit.ts';
import { CSV_HEADER, readCsv, writeCsvRow } from './csv.ts';
import { readJSContact } from './jscontact-reader.ts';
import { missingIn, someForeignCard } from './jscontact.testkit.ts';
import { writeJSContact } from './jscontact-writer.ts';
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from './json-values.ts';
import { readVCards } from './vcard-reader.ts';
import { writeVCard } from './vcard-writer.ts';

const read = (text: string | Uint8Array) => [...readJSContact(typeof text === 'string' ? Buffer.from(text) : text)];

const set = (card: Card): Partial<Card> =>
  Object.fromEntries(
    Object.entries(card).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(EMPTY_CARD[name as 'uid'])),
  );

const one = (value: object): Partial<Card> => {
  const [first, ...others] = read(JSON.stringify({ '@type': 'Card', version: '1.0', ...value }));
  expect(others).toEqual([]);
  expect(first?.error).toBe('');
  return set(first!.card);
};

/** What is written of a Card that was read, without what every Card has. */
const again = (value: object): object => {
  const [first] = read(JSON.stringify({ '@type': 'Card', version: '1.0', ...value }));
  const {
    '@type': _,
    version: _version,
    ...written
  } = JSON.parse(writeJSContact(first!.card)) as Record<string, object>;
  return written;
};

/** The ways that a contact may take before it is read again. */
const WAYS: Readonly<Record<string, (card: Card) => Card>> = {
  JSContact: (card) => read(writeJSContact(card))[0]!.card,
  'vCard 4.0': (card) => [...readVCards(Buffer.from(writeVCard(card, '4.0')))][0]!.card,
  'vCard 3.0': (card) => [...readVCards(Buffer.from(writeVCard(card, '3.0')))][0]!.card,
  CSV: (card) => [...readCsv(Buffer.from(CSV_HEADER + writeCsvRow(card)))][0]!.card,
};

describe('JSContact', () => {
  test('a contact that is written and read again is the same, whatever is in it', () => {
    const rounds = Number(process.env['KITH_TEST_ROUNDS'] ?? 300);
    const written = Array.from({ length: rounds }, (_, seed) => ({
      ...someCard(generator(seed + 1)),
      photo: seed % 3 === 0 ? Buffer.alloc(seed + 1, seed) : undefined,
    }));
    const back = read(`[\n${written.map(writeJSContact).join(',\n')}\n]\n`);
    back.forEach(({ card, notes, error, line }, i) => {
      expect(card, `seed ${i + 1}\n${writeJSContact(written[i]!)}`).toEqual(written[i]);
      expect([error, notes, line]).toEqual(['', [], i + 2]);
    });
    expect(back).toHaveLength(rounds);
  });

  test('nothing of a Card of others is lost, whichever format it goes through', () => {
    const rounds = Number(process.env['KITH_TEST_ROUNDS'] ?? 100);
    for (let seed = 1; seed <= rounds; seed++) {
      const original = someForeignCard(generator(seed));
      const [first] = read(JSON.stringify(original));
      expect(first!.error).toBe('');
      for (const [way, go] of Object.entries(WAYS)) {
        const file = writeJSContact(go(first!.card));
        const missing = missingIn(JSON.parse(file), original).filter((each) => !/\/(pref|@type)$/.test(each));
        expect(missing, `seed ${seed}, ${way}\n${JSON.stringify(original)}\n${file}`).toEqual([]);
      }
    }
  });
});

describe('Cards of others', () => {
  test('what fields of a contact hold is in them, and the rest is a property of vCard or JSPROP', () => {
    const card = {
      kind: 'individual',
      name: {
        components: [
          { kind: 'title', value: 'Countess' },
          { kind: 'given', value: 'Ada', phonetic: 'Ey-da' },
          { kind: 'surname', value: 'King' },
          { kind: 'surname2', value: 'Lovelace' },
          { kind: 'generation', value: 'II' },
          { kind: 'credential', value: 'FRS' },
        ],
        full: 'Ada Lovelace',
      },
      nicknames: { n1: { name: 'Addie' }, n2: { name: 'Enchantress', contexts: { work: true } } },
      organizations: { o1: { name: 'Engines, Inc.', units: [{ name: 'Analytical' }, { name: 'Numbers' }] } },
      titles: { t1: { kind: 'title', name: 'Analyst' }, t2: { kind: 'role', name: 'Lead' } },
      speakToAs: { grammaticalGender: 'feminine', pronouns: { p: { pronouns: 'she/her' } } },
      emails: {
        e1: { address: 'a@example.org', contexts: { work: true }, 'example.com:spam': 0.5 },
        e2: { address: 'b@example.org', label: 'Old', pref: 1 },
        e3: { address: 'nobody' },
      },
      phones: { p1: { number: 'tel:+1-201-555-0123;ext=5', features: { mobile: true }, contexts: { private: true } } },
      onlineServices: {
        x1: { uri: 'xmpp:alice%20b@example.com', vCardName: 'impp' },
        x2: { service: 'Mastodon', user: '@a' },
      },
      preferredLanguages: { a: { language: 'fr', pref: 2 }, b: { language: 'en', pref: 1 } },
      addresses: {
        k1: {
          isOrdered: true,
          defaultSeparator: ', ',
          components: [
            { kind: 'number', value: '54321' },
            { kind: 'separator', value: ' ' },
            { kind: 'name', value: 'Oak St' },
            { kind: 'locality', value: 'Reston' },
          ],
          countryCode: 'US',
        },
        k2: { full: '1 Road\nTown', contexts: { private: true } },
        k3: { timeZone: 'Europe/London' },
      },
      links: { l: { uri: 'https://example.org' }, m: { kind: 'contact', uri: 'mailto:a@example.org' } },
      anniversaries: {
        a: { kind: 'wedding', date: { '@type': 'Timestamp', utc: '1835-07-08T10:00:00Z' } },
        b: { kind: 'birth', date: { month: 12, day: 10 } },
        c: { kind: 'death', date: { year: 1852 } },
      },
      keywords: { Poets: true },
      notes: { n: { note: 'First\nsecond' } },
      relatedTo: { 'William King': { relation: { spouse: true } }, 'urn:uuid:1': { relation: { friend: true } } },
      cryptoKeys: { k: { uri: 'https://example.org/key' } },
      vCardProps: [['x-foo', { group: 'g', type: 'a' }, 'unknown', 'bar']],
      'example.com:own': { x: [1, null] },
    };
    expect(one(card)).toEqual({
      namePrefix: 'Countess',
      givenName: 'Ada',
      familyName: 'King Lovelace',
      nameSuffix: 'II, FRS',
      phoneticGivenName: 'Ey-da',
      nickname: 'Addie',
      company: 'Engines, Inc.',
      department: 'Analytical, Numbers',
      jobTitle: 'Analyst',
      pronouns: 'she/her',
      emails: [
        { address: 'a@example.org', type: 'work', primary: false },
        { address: 'b@example.org', type: 'Old', primary: true },
      ],
      phones: [{ number: '+1-201-555-0123 ext. 5', type: 'home mobile', primary: false }],
      messagingHandles: [
        { handle: 'alice b@example.com', service: 'XMPP', type: '' },
        { handle: '@a', service: 'Mastodon', type: '' },
      ],
      languages: ['en', 'fr'],
      addresses: [
        { street: '54321 Oak St', city: 'Reston', region: '', postalCode: '', country: 'US', type: '', primary: false },
        { street: '1 Road\nTown', city: '', region: '', postalCode: '', country: '', type: 'home', primary: false },
      ],
      timeZone: 'Europe/London',
      urls: [{ url: 'https://example.org', type: '', primary: false }],
      birthday: { year: undefined, month: 12, day: 10 },
      dates: [{ date: { year: 1835, month: 7, day: 8 }, type: 'anniversary' }],
      labels: ['Poets'],
      notes: 'First\nsecond',
      relations: [{ name: 'William King', type: 'spouse' }],
      properties: expect.arrayContaining([
        'KIND:individual',
        'NICKNAME;PROP-ID=n2;TYPE=work:Enchantress',
        'ROLE;PROP-ID=t2:Lead',
        'GRAMGENDER:feminine',
        'JSPROP;JSPTR=emails/e3:{"address":"nobody"}',
        'CONTACT-URI;PROP-ID=m:mailto:a@example.org',
        'RELATED;TYPE=friend:urn:uuid:1',
        'KEY;PROP-ID=k:https://example.org/key',
        'g.X-FOO;TYPE=a:bar',
        'JSPROP;JSPTR="example.com:own":{"x":[1\\,null]}',
      ]) as unknown,
    });
    expect(missingIn(again(card), card).filter((each) => !each.endsWith('/@type'))).toEqual([
      '/titles/t1/kind',
      '/addresses/k3/timeZone',
    ]);
  });

  test('what is kept of an entry goes with it, and ends where the entry becomes another one', () => {
    const emails = {
      e1: { address: 'a@example.org', 'example.com:x': 1 },
      e2: { address: 'b@example.org', 'example.com:x': 2 },
    };
    const [{ card } = { card: EMPTY_CARD }] = read(JSON.stringify({ emails }));
    const [first, second] = card.emails;
    const written = (cards: Card) => (JSON.parse(writeJSContact(cards)) as { emails: object }).emails;
    expect(written({ ...card, emails: [second!] })).toEqual({ e2: emails.e2 });
    expect(written({ ...card, emails: [{ ...first!, address: 'c@example.org' }, second!] })).toEqual({
      kith1: { address: 'c@example.org' },
      e2: emails.e2,
    });
  });

  test('properties of a vCard that no field holds are entries where JSContact has such, else vCardProps', () => {
    const kept = [
      'ROLE:Boss',
      'KEY;MEDIATYPE=text/plain:https://example.org/k',
      'item1.X-BAR:1',
      'item1.X-ABLabel:Bar',
      'X-FOO;A=b:c\\,d',
    ];
    const written = JSON.parse(writeJSContact({ ...EMPTY_CARD, givenName: 'Ada', properties: kept })) as object;
    expect(written).toMatchObject({
      titles: { kith1: { kind: 'role', name: 'Boss' } },
      cryptoKeys: { kith1: { uri: 'https://example.org/k', mediaType: 'text/plain' } },
      vCardProps: [
        ['x-bar', { group: 'item1' }, 'unknown', '1'],
        ['x-ablabel', { group: 'item1' }, 'unknown', 'Bar'],
        ['x-foo', { a: 'b' }, 'unknown', 'c\\,d'],
      ],
    });
    expect(new Set(read(JSON.stringify(written))[0]!.card.properties)).toEqual(new Set(kept));
  });

  test('as Stalwart writes them: properties of vCard elsewhere, and labels as a parameter in vCard', () => {
    expect(
      one({
        vCard: {
          properties: [
            ['x-kith-starred', {}, 'unknown', 'TRUE'],
            ['note', {}, 'text', 'a\nb'],
          ],
        },
      }),
    ).toEqual({
      starred: true,
      notes: 'a\nb',
    });
    const [{ card } = { card: EMPTY_CARD }] = readVCards(
      Buffer.from(
        'BEGIN:VCARD\nVERSION:4.0\nEMAIL;LABEL=Other:a@b\nSOCIALPROFILE;SERVICE-TYPE=Skype;USERNAME=ada:skype:ada\nEND:VCARD\n',
      ),
    );
    expect(set(card)).toMatchObject({
      emails: [{ type: 'Other' }],
      messagingHandles: [{ handle: 'ada', service: 'Skype' }],
    });
  });

  test('the first photo that is in the file is that of the contact, and addresses are kept', () => {
    const uri = 'data:image/png;base64,AAAA';
    const media = {
      a: { kind: 'photo', uri: 'https://example.org/a.png' },
      b: { kind: 'photo', uri },
      c: { uri },
      d: { kind: 'photo', uri: 'data:image/png;base64,' },
    };
    expect(read(JSON.stringify({ media }))[0]).toMatchObject({
      card: { photo: Buffer.alloc(3), properties: ['PHOTO;PROP-ID=a:https://example.org/a.png'] },
      photoLine: 1,
      notes: [
        { line: 1, text: '/media/c is left out: a contact has one photo' },
        { line: 1, text: '/media/d is left out: there is no picture in it' },
      ],
    });
  });
});

describe('files', () => {
  const names = (text: string) => read(text).map(({ card, error, line }) => [line, error || card.givenName]);
  const ada = '{"name": {"components": [{"kind": "given", "value": "Ada"}]}}';

  test.each([
    ['one Card', ada, [[1, 'Ada']]],
    [
      'an array',
      `[\n${ada},\n${ada}]`,
      [
        [2, 'Ada'],
        [3, 'Ada'],
      ],
    ],
    [
      'lines',
      `${ada}\n${ada}\r\n\r\n${ada}`,
      [
        [1, 'Ada'],
        [2, 'Ada'],
        [4, 'Ada'],
      ],
    ],
    ['a byte order mark', `\uFEFF${ada}`, [[1, 'Ada']]],
    ['nothing', ' \n', []],
    ['an empty array', '[]', []],
    ['a text', 'Hello', [[1, 'this is no JSON: a value is missing']]],
    [
      'other values',
      '[1, "a"]',
      [
        [1, 'this is no Card: it is no object'],
        [1, 'this is no Card: it is no object'],
      ],
    ],
    ['a group of others', '{"@type": "Group"}', [[1, 'this is no Card: its @type is "Group"']]],
    [
      'an end that is missing',
      `${ada}\n{"name":\n{"full": "A`,
      [
        [1, 'Ada'],
        [2, 'this is no JSON at /name/full (line 3): a text has no end'],
      ],
    ],
    [
      'a mistake in the middle',
      `{"a": tru}\n${ada}`,
      [
        [1, 'this is no JSON at /a: a value is missing'],
        [2, 'Ada'],
      ],
    ],
    [
      'a name that is there twice',
      `{"uid": "1", "a/b~": {"c": 1, "c": 2}},\n${ada}`,
      [
        [1, 'the name is there twice at /a~1b~0/c'],
        [2, 'Ada'],
      ],
    ],
    [
      'a control character',
      '{"uid": "a\u0001"}',
      [[1, 'this is no JSON at /uid: a text has a control character in it']],
    ],
    [
      'an escape that is none',
      '{"uid": "\\x"}',
      [[1, 'this is no JSON at /uid: a text has a backslash in it that is no escape']],
    ],
    ['a comma too many', '{"uid": "1",}', [[1, 'this is no JSON: a name in quotes is missing']]],
  ])('%s', (_, text, expected) => {
    expect(names(text)).toEqual(expected);
  });

  test('notes say where in the file something is not what it should be', () => {
    const [first] = read('{"name": "Ada",\n"emails": [1],\n"phones": {"p": {"number": "1"}, "q":\n{"number": 5}}}');
    expect(first!.notes).toEqual([
      { line: 1, text: '/name is no object: it is kept as it is' },
      { line: 1, text: '/emails is no object: it is kept as it is' },
      { line: 4, text: '/phones/q has no field, or is one more than there is room for: it is kept as it is' },
    ]);
    expect(first!.card.properties).toHaveLength(4);
  });

  test('names of the language are names like others, and numbers stay as long as they are', () => {
    const text =
      '{"__proto__":{"polluted":true},"constructor":{"prototype":1},"hasOwnProperty":12345678901234567890.5}';
    const [{ card } = { card: EMPTY_CARD }] = read(text);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(writeJSContact(card)).toContain(text.slice(1, -1));
    const keys =
      '{"emails":{"__proto__":{"address":"a@b"},"toString":{"address":"c@d"}},"keywords":{"__proto__":true}}';
    expect(writeJSContact(read(keys)[0]!.card)).toContain('"toString":{"address":"c@d"}');
    expect(read(keys)[0]!.card.labels).toEqual(['__proto__']);
  });

  test.each(['constructor', '__proto__', 'toString'])(
    '%s is a word like others wherever a file may have one',
    (word) => {
      const one = `{"${word}":true}`;
      const given =
        `"cryptoKeys":{"k":{"uri":"data:,k","contexts":${one}}},` +
        `"personalInfo":{"p":{"kind":"expertise","value":"v","level":"${word}"}},` +
        `"name":{"components":[{"kind":"${word}","value":"v"}]},"phones":{"n":{"number":"1","features":${one}}}`;
      const [{ card } = { card: EMPTY_CARD }] = read(`{${given}}`);
      expect(missingIn(JSON.parse(writeJSContact(card)), JSON.parse(`{${given}}`))).toEqual([]);
    },
  );

  test('what no contact may have is kept as an escape, also where a property of vCard would say the rest', () => {
    const given = {
      members: { 'a\nb\u202E': true },
      media: { m: { kind: 'logo', uri: 'https://example.org/\n\u0001' } },
      notes: { n: { note: 'a' }, m: { note: 'b\u202Ec\uFFFD' } },
      cryptoKeys: { 'k\u0001': { uri: 'data:,k' } },
    };
    expect(again(given)).toMatchObject(given);
  });

  test('a property that begins or ends a card is none in a vCard', () => {
    const vCardProps = [
      ['x-a', '1'],
      ['end', 'VCARD'],
      ['begin', 'vcard '],
      ['x-b', '2'],
    ].map(([name, value]) => [name, {}, 'unknown', value]);
    const [first] = read(JSON.stringify({ uid: 'ada', vCardProps }));
    for (const version of ['3.0', '4.0'] as const) {
      const back = [...readVCards(Buffer.from(writeVCard(first!.card, version)))];
      expect(back.map(({ card, error }) => [card.uid, card.properties, error])).toEqual([
        ['ada', ['X-A:1', 'X-B:2'], ''],
      ]);
    }
  });

  test('halves of characters are left out of texts, and written again as a sign of their own where they are kept', () => {
    const [first] = read('{"notes": {"n": {"note": "a\\ud800b"}}, "x": "\\udc00"}');
    expect(first!.card.notes).toBe('ab');
    expect(first!.notes).toEqual([
      { line: 1, text: '/notes/n/note is no Unicode text: what is none of it is left out' },
    ]);
    expect(writeJSContact(first!.card)).toContain('"x":"\uFFFD"');
  });

  test('depth, names, values and lengths without end take time and memory in proportion', () => {
    const deep = read(`[${'{"a":'.repeat(2e5)}1${'}'.repeat(2e5)},\n${ada},\n${'['.repeat(2e5)}]`);
    expect(deep.map(({ error }) => error.replace(/\/a.*/, '...'))).toEqual([
      `it goes deeper than ${JSON_DEPTH_MAX} levels at ...`,
      '',
      expect.stringContaining('') as string,
    ]);
    const many = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(',')}}`;
    const wide = read(`${many(1e6)}\n${ada}`);
    expect(wide.map(({ error }) => error)).toEqual([`there are more than ${JSON_VALUES_MAX} values in it`, '']);
    const kept = read(many(5000))[0]!;
    expect(kept.card.properties).toHaveLength(200);
    expect(kept.notes).toHaveLength(51);
    expect(read(`{"x": "${'y'.repeat(2e6)}", "z": "${'\\\\'.repeat(5e5)}"}`)[0]!.notes).toHaveLength(2);
    expect(read(`"${'\\'.repeat(1e6)}`)).toHaveLength(1);
    expect(read('{'.repeat(1e5))).toHaveLength(1);
    expect(read('{\n'.repeat(2e4)).length).toBeLessThan(2e4 + 2);
    expect(read('{"emails": {"a": {"address": "a@b", "label": 5}}}'.repeat(1000))).toHaveLength(1000);
  });
});
