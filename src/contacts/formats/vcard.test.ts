import { describe, expect, test } from 'vitest';
import { generator } from '../../../test/support/generator.ts';
import { type Card, EMPTY_CARD, type ReadCard } from './card.ts';
import { someCard } from './cards.testkit.ts';
import { CARD_PROPERTIES_MAX, readVCards } from './vcard-reader.ts';
import { writeVCard } from './vcard-writer.ts';

const read = (file: string | Uint8Array): ReadCard[] => [
  ...readVCards(typeof file === 'string' ? Buffer.from(file) : file),
];

/** The one card of a file, without what it does not have. */
function one(file: string | Uint8Array): Partial<Card> {
  const cards = read(file);
  expect(cards.map(({ error }) => error)).toEqual(['']);
  return set(cards[0]!.card);
}

function set(card: Card): Partial<Card> {
  return Object.fromEntries(
    Object.entries(card).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(EMPTY_CARD[name as 'uid'])),
  );
}

const card = (version: string, ...lines: string[]) =>
  ['BEGIN:VCARD', `VERSION:${version}`, ...lines, 'END:VCARD', ''].join('\r\n');

test.each(['constructor', '__proto__', 'toString'])('%s is a word like others', (word) => {
  const lines = [`TEL;TYPE=${word}:1`, 'a.EMAIL:a@b.c', `a.X-ABLabel:_$!<${word}>!$_`];
  expect(one(card('3.0', ...lines))).toEqual({
    phones: [{ number: '1', type: word.toLowerCase(), primary: false }],
    emails: [{ address: 'a@b.c', type: word.toLowerCase(), primary: false }],
  });
});

describe.each(['3.0', '4.0'] as const)('vCard %s', (version) => {
  test('a contact that is written and read again is the same, whatever is in it', () => {
    const rounds = Number(process.env['KITH_TEST_ROUNDS'] ?? 100);
    for (let seed = 1; seed <= rounds; seed++) {
      const photo = seed % 3 === 0 ? Buffer.alloc(seed * 10, seed) : undefined;
      const contact = { ...someCard(generator(seed)), photo };
      const file = writeVCard(contact, version);
      const [back, ...others] = read(file);
      expect(back?.card, `seed ${seed}\n${file}`).toEqual(contact);
      expect(back?.notes).toEqual([]);
      expect(others).toEqual([]);
    }
  });

  test('lines are at most 75 bytes and never end within a character', () => {
    const file = writeVCard({ ...EMPTY_CARD, givenName: '李🦉é'.repeat(60) }, version);
    for (const line of file.split('\r\n')) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(75);
      expect(line.isWellFormed()).toBe(true);
    }
  });

  test('what no field holds comes back, with its group and label', () => {
    const kept = [
      'X-FOO;A="b;c":d\\,e',
      'item1.X-BAR:1',
      'item1.X-ABLabel:Bar',
      'X-CATEGORIES:Friends,Work',
      'ROLE:Boss',
    ];
    const contact = { ...EMPTY_CARD, givenName: 'Ada', customFields: [{ label: 'L', value: 'v' }], properties: kept };
    const [back] = read(writeVCard(contact, version));
    expect(back?.card).toEqual(contact);
  });
});

describe('what programs write', () => {
  test('iPhone: grouped properties with labels, wrapped ones of Apple, a birthday without a year', () => {
    const file = card(
      '3.0',
      'PRODID:-//Apple Inc.//iPhone OS 17.1//EN',
      'N:Lovelace;Ada;King;Countess;',
      'FN:Countess Ada King Lovelace',
      'X-PHONETIC-FIRST-NAME:Ey-da',
      'ORG:Analytical Engines;Numbers',
      'item1.EMAIL;type=INTERNET;type=pref:ada@example.com',
      'item1.X-ABLabel:_$!<Other>!$_',
      'TEL;type=IPHONE;type=CELL;type=VOICE;type=pref:+44 20 7946 0958',
      'TEL;type=HOME;type=FAX:020 7946 0001',
      'item2.ADR;type=HOME;type=pref:;;12 St James\\nFlat 2;London;;SW1Y;United Kingdom',
      'item2.X-ABADR:gb',
      'item3.URL;type=pref:http\\://example.com/ada',
      'item3.X-ABLabel:_$!<HomePage>!$_',
      'BDAY;X-APPLE-OMIT-YEAR=1604;value=date:1604-12-10',
      'item4.X-ABDATE;type=pref:1835-07-08',
      'item4.X-ABLabel:_$!<Anniversary>!$_',
      'item5.X-ABRELATEDNAMES;type=pref:William King',
      'item5.X-ABLabel:_$!<Spouse>!$_',
      'IMPP;X-SERVICE-TYPE=Skype;type=HOME;type=pref:skype:ada.l',
      'X-SOCIALPROFILE;type=twitter:http://twitter.com/ada',
      'PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQAAAQABAAD',
      ' /2wBDAAEBAQEBAQEBAQEB',
    );
    expect(one(file)).toEqual({
      familyName: 'Lovelace',
      givenName: 'Ada',
      middleName: 'King',
      namePrefix: 'Countess',
      phoneticGivenName: 'Ey-da',
      company: 'Analytical Engines',
      department: 'Numbers',
      emails: [{ address: 'ada@example.com', type: 'other', primary: true }],
      phones: [
        { number: '+44 20 7946 0958', type: 'iPhone mobile', primary: true },
        { number: '020 7946 0001', type: 'home fax', primary: false },
      ],
      addresses: [
        {
          street: '12 St James\nFlat 2',
          city: 'London',
          region: '',
          postalCode: 'SW1Y',
          country: 'United Kingdom',
          type: 'home',
          primary: true,
        },
      ],
      urls: [{ url: 'http://example.com/ada', type: 'homepage', primary: true }],
      birthday: { year: undefined, month: 12, day: 10 },
      dates: [{ date: { year: 1835, month: 7, day: 8 }, type: 'anniversary' }],
      relations: [{ name: 'William King', type: 'spouse' }],
      messagingHandles: [
        { handle: 'ada.l', service: 'Skype', type: 'home' },
        { handle: 'http://twitter.com/ada', service: 'twitter', type: '' },
      ],
      properties: ['item2.X-ABADR:gb'],
      photo: Buffer.from('/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEB', 'base64'),
    });
    expect(read(file)[0]).toMatchObject({ notes: [], photoLine: 23 });
  });

  test('macOS: UTF-16 with a byte order mark, companies without a name', () => {
    const text = card('3.0', 'N:;;;;', 'FN:Müller & Söhne', 'ORG:Müller & Söhne;', 'X-ABShowAs:COMPANY');
    const expected = { company: 'Müller & Söhne', properties: ['X-ABSHOWAS:COMPANY'] };
    const little = Buffer.from(`\uFEFF${text}`, 'utf16le');
    expect(one(little)).toEqual(expected);
    expect(one(Buffer.from(little).swap16())).toEqual(expected);
    expect(one(Buffer.from(text, 'utf16le'))).toEqual(expected);
    expect(one(`\uFEFF${text}`)).toEqual(expected);
  });

  test('Android: quoted-printable with soft line breaks, parameters without names', () => {
    const file = card(
      '2.1',
      'N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E6=9D=8E;=E5=B0=8F=E9=BE=99;;;',
      'FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E6=9D=8E=E5=B0=8F=E9=BE=99',
      'TEL;CELL;PREF:+86 10 1234 5678',
      'TEL;X-Custom(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=E5=AE=B6):1',
      'EMAIL;HOME:li@example.cn',
      'NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0A=',
      'two=3B =',
      '  three',
      'X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;Bruce;1;;;;;;;;;;;;;',
    );
    const { phones, properties, ...others } = one(file);
    expect(others).toEqual({
      familyName: '李',
      givenName: '小龙',
      emails: [{ address: 'li@example.cn', type: 'home', primary: false }],
      notes: 'one\ntwo;   three',
    });
    expect(phones?.map(({ number }) => number)).toEqual(['+86 10 1234 5678', '1']);
    expect(properties).toEqual([
      'FN;X-KITH-NAME="小龙 李":李小龙',
      'X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;Bruce;1;;;;;;;;;;;;;',
    ]);
  });

  test('Outlook: 2.1 in Windows-1252, street lines in quoted-printable, a photo that an empty line ends', () => {
    const text = card(
      '2.1',
      'N;LANGUAGE=de:Müller;Jörg',
      'FN:Jörg Müller',
      'ORG:Contoso, Ltd.;Vertrieb',
      'TITLE:Verkäufer',
      'TEL;WORK;VOICE:+49 (30) 1234-0',
      'ADR;WORK;PREF;ENCODING=QUOTED-PRINTABLE:;;Hauptstr. 1=0D=0AHinterhaus;Berlin;;10115;Deutschland',
      'LABEL;WORK;PREF;ENCODING=QUOTED-PRINTABLE:Hauptstr. 1=0D=0A10115 Berlin',
      'X-MS-OL-DEFAULT-POSTAL-ADDRESS:2',
      'EMAIL;PREF;INTERNET:joerg@example.de',
      'PHOTO;TYPE=JPEG;ENCODING=BASE64:',
      ' /9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcU',
      '',
      'X-MS-CARDPICTURE;TYPE=JPEG;ENCODING=BASE64:',
      ' AAAA',
      '',
      'REV:20240131T101530Z',
    );
    const expected = {
      familyName: 'Müller',
      givenName: 'Jörg',
      company: 'Contoso, Ltd.',
      department: 'Vertrieb',
      jobTitle: 'Verkäufer',
      phones: [{ number: '+49 (30) 1234-0', type: 'work', primary: false }],
      addresses: [
        {
          street: 'Hauptstr. 1\nHinterhaus',
          city: 'Berlin',
          region: '',
          postalCode: '10115',
          country: 'Deutschland',
          type: 'work',
          primary: true,
        },
      ],
      emails: [{ address: 'joerg@example.de', type: '', primary: true }],
      properties: [
        'LABEL;TYPE=WORK;TYPE=PREF:Hauptstr. 1\\n10115 Berlin',
        'X-MS-OL-DEFAULT-POSTAL-ADDRESS:2',
        'X-MS-CARDPICTURE;TYPE=JPEG;ENCODING=BASE64:AAAA',
      ],
    };
    const photo = Buffer.from('/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcU', 'base64');
    expect(one(Buffer.from(text, 'latin1'))).toEqual({ ...expected, photo });
    expect(one(text)).toEqual({ ...expected, photo });
  });

  test('BlackBerry and others: a charset for each property, names without N', () => {
    const file = Buffer.concat([
      Buffer.from('BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=SHIFT_JIS:'),
      Buffer.from([0x8e, 0x52, 0x93, 0x63, 0x3b, 0x91, 0xbe, 0x98, 0x59]),
      Buffer.from('\nTITLE;CHARSET=KOI8-R:'),
      Buffer.from([0xc9, 0xce, 0xd6, 0xc5, 0xce, 0xc5, 0xd2]),
      Buffer.from('\nEND:VCARD\nBEGIN:VCARD\nVERSION:2.1\nFN:Grace Hopper\nEND:VCARD\n'),
    ]);
    expect(read(file).map(({ card: each }) => set(each))).toEqual([
      { familyName: '山田', givenName: '太郎', jobTitle: 'инженер' },
      { givenName: 'Grace', familyName: 'Hopper' },
    ]);
  });

  test('Evolution and Thunderbird: messengers, relations and dates as X- properties', () => {
    const file = card(
      '3.0',
      'N:Hopper;Grace;Brewster;;',
      'FN:Hopper, Grace',
      'X-EVOLUTION-FILE-AS:Hopper\\, Grace',
      'X-EVOLUTION-SPOUSE:Vincent',
      'X-EVOLUTION-ANNIVERSARY:1930-06-15',
      'X-JABBER;TYPE=HOME:grace@jabber.example',
      'X-SPOUSE:Vincent',
      'NICKNAME:Amazing Grace,Grandma COBOL',
      'LANG:en',
      'X-MOZILLA-HTML:FALSE',
    );
    expect(one(file)).toEqual({
      familyName: 'Hopper',
      givenName: 'Grace',
      middleName: 'Brewster',
      nickname: 'Amazing Grace, Grandma COBOL',
      relations: [
        { name: 'Vincent', type: 'spouse' },
        { name: 'Vincent', type: 'spouse' },
      ],
      dates: [{ date: { year: 1930, month: 6, day: 15 }, type: 'anniversary' }],
      messagingHandles: [{ handle: 'grace@jabber.example', service: 'XMPP', type: 'home' }],
      languages: ['en'],
      properties: [
        'FN;X-KITH-NAME="Grace Brewster Hopper":Hopper, Grace',
        'X-EVOLUTION-FILE-AS:Hopper\\, Grace',
        'X-MOZILLA-HTML:FALSE',
      ],
    });
  });

  test('Gmail: a label of a custom kind, and vCard 4.0 with uris', () => {
    const google = card('3.0', 'FN:A B', 'N:B;A;;;', 'item1.TEL:+1 202', 'item1.X-ABLabel:Ship to shore');
    expect(one(google).phones).toEqual([{ number: '+1 202', type: 'Ship to shore', primary: false }]);
    const four = card(
      '4.0',
      'FN:A B',
      'TEL;VALUE=uri;PREF=2;TYPE="voice,home":tel:+1-555-555-5555;ext=5555',
      'TEL;VALUE=uri;PREF=1;TYPE="cell,work":tel:+33-01-23-45-67',
      'RELATED;TYPE=friend:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
      'RELATED;TYPE=co-worker;VALUE=text:Jane\\, of accounts',
      'BDAY:--0203',
      'ANNIVERSARY:20090808T1430-0500',
      'LANG;PREF=1:fr',
      'PHOTO:https://example.com/a.jpg',
    );
    expect(one(four)).toEqual({
      givenName: 'A',
      familyName: 'B',
      phones: [
        { number: '+1-555-555-5555 ext. 5555', type: 'home', primary: false },
        { number: '+33-01-23-45-67', type: 'work mobile', primary: true },
      ],
      relations: [{ name: 'Jane, of accounts', type: 'co-worker' }],
      birthday: { year: undefined, month: 2, day: 3 },
      dates: [{ date: { year: 2009, month: 8, day: 8 }, type: 'anniversary' }],
      languages: ['fr'],
      properties: [
        'RELATED;TYPE=friend:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
        'PHOTO:https://example.com/a.jpg',
      ],
    });
  });

  test('Lotus: an agent that is a card within the card, ends of lines of every kind', () => {
    const file =
      'BEGIN:VCARD\rVERSION:2.1\r\nN:A;B\nAGENT:\nBEGIN:VCARD\nVERSION:2.1\nN:C;D\nEND:VCARD\nTEL:1\rEND:VCARD';
    expect(one(file)).toEqual({
      familyName: 'A',
      givenName: 'B',
      phones: [{ number: '1', type: '', primary: false }],
      properties: ['AGENT:BEGIN:VCARD\\nVERSION:2.1\\nN:C\\;D\\nEND:VCARD\\n'],
    });
  });
});

describe('what does not fit', () => {
  test('a second value, a date that is none and a 21st entry are kept, and come back', () => {
    const phones = Array.from({ length: 21 }, (_, i) => `TEL:${i}`);
    const file = card('3.0', 'N:A;B;;;', 'TITLE:One', 'TITLE:Two', 'BDAY:circa 1800', 'EMAIL:nobody', ...phones);
    const kept = ['TITLE:Two', 'BDAY:circa 1800', 'EMAIL:nobody', 'TEL:20'];
    expect(one(file).properties).toEqual(kept);
    const [{ card: back, notes } = { card: EMPTY_CARD, notes: [] }] = read(file);
    expect(notes).toEqual([
      { line: 6, text: 'BDAY is kept as it is, and is no date of the contact: "circa 1800" is none' },
    ]);
    expect(one(writeVCard(back, '4.0')).properties).toEqual(kept);
  });

  test('texts that are too long are cut, between characters, which a note says with the line', () => {
    const [cut] = read(card('3.0', `N:${'🦉'.repeat(300)};B;;;`));
    expect(cut!.card.familyName).toBe('🦉'.repeat(200));
    expect(cut!.notes).toEqual([{ line: 3, text: 'the family name is cut to 200 characters' }]);
  });

  test('what the contract refuses in texts is left out', () => {
    expect(one(card('3.0', 'N:A\u0000\u202E;B\\nC;;;')).familyName).toBe('A');
    expect(one(card('3.0', 'N:A;B\\nC;;;')).givenName).toBe('B C');
  });

  test('FN is given back until the name is changed', () => {
    const [{ card: mum } = { card: EMPTY_CARD }] = read(card('3.0', 'N:Lovelace;Ada;;;', 'FN:Mum'));
    expect(writeVCard(mum, '3.0')).toContain('FN:Mum\r\n');
    expect(writeVCard({ ...mum, givenName: 'Eva' }, '3.0')).toContain('FN:Eva Lovelace\r\n');
  });
});

describe('files that are no vCards', () => {
  test.each([
    ['nothing', '', []],
    [
      'a text',
      'Hello\nthere',
      [
        [1, 'no colon'],
        [2, 'no colon'],
      ],
    ],
    ['a card without an end', 'BEGIN:VCARD\nN:A;B', [[1, 'ends before END:VCARD']]],
    [
      'two cards without an end',
      'BEGIN:VCARD\nBEGIN:VCARD\nEND:VCARD',
      [
        [1, 'no END:VCARD'],
        [2, ''],
      ],
    ],
    ['an end', 'END:VCARD', [[1, 'outside of a card']]],
  ])('%s: the error says the line', (_, file, expected) => {
    const found = read(file).map(({ line, error }, i) => [line, error.includes(String(expected[i]?.[1])) || error]);
    expect(found).toEqual(expected.map(([line]) => [line, true]));
  });

  test('lines, properties, groups and cards without end take time and memory in proportion', () => {
    const long = read(card('3.0', 'N:A;B;;;', `NOTE:${'x'.repeat(2e6)}`, `X-A:${'\r\n y'.repeat(2e4)}`));
    expect(long[0]!.notes.map(({ line, text }) => [line, text.slice(0, 16)])).toEqual([
      [4, 'NOTE is left out'],
      [5, 'X-A is left out:'],
    ]);
    const many = read(card('3.0', 'N:A;B;;;', ...Array.from({ length: 2e4 }, (_, i) => `X-${i}:v`)));
    expect(many[0]!.card.properties).toHaveLength(200);
    expect(many[0]!.notes).toHaveLength(51);
    expect(many[0]!.error).toBe('');
    expect(CARD_PROPERTIES_MAX).toBe(2000);
    const groups = read(
      card('3.0', `${'a.'.repeat(2e4)}N:A;B;;;`, `TEL${';a=b'.repeat(2e4)}:1`, `X:${'\\'.repeat(2e4)}`),
    );
    expect(groups[0]!.card).toMatchObject({ familyName: 'A', phones: [{ number: '1' }] });
    const nested = read(`BEGIN:VCARD\n${'AGENT:\nBEGIN:VCARD\n'.repeat(2e4)}`);
    expect(nested.map(({ error }) => error)).toEqual(['the file ends before END:VCARD']);
    expect(read(`TEL${';"'.repeat(2e4)}`)).toHaveLength(1);
    expect(read('BEGIN:VCARD\nEND:VCARD\n'.repeat(2e3))).toHaveLength(2e3);
  });
});
