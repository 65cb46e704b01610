import { describe, expect, test } from 'vitest';
import { generator } from '../../../test/support/generator.ts';
import { type Card, EMPTY_CARD } from './card.ts';
import { someCard } from './cards.testkit.ts';
import { CSV_HEADER, readCsv, writeCsvRow } from './csv.ts';

const read = (text: string | Uint8Array, columns?: ReadonlyMap<string, string>) => [
  ...readCsv(typeof text === 'string' ? Buffer.from(text) : text, columns),
];

/** The cards of a file, without what they do not have. */
const cards = (text: string | Uint8Array, columns?: ReadonlyMap<string, string>): Partial<Card>[] =>
  read(text, columns).map(({ card }) =>
    Object.fromEntries(
      Object.entries(card).filter(
        ([name, value]) => JSON.stringify(value) !== JSON.stringify(EMPTY_CARD[name as 'uid']),
      ),
    ),
  );

describe('CSV of Kith', () => {
  test('a contact that is written and read again is the same, whatever is in it', () => {
    const rounds = Number(process.env['KITH_TEST_ROUNDS'] ?? 100);
    const written = Array.from({ length: rounds }, (_, seed) => someCard(generator(seed + 1)));
    const back = read(CSV_HEADER + written.map(writeCsvRow).join(''));
    expect(back.map(({ card }) => card)).toEqual(written);
    expect(back.flatMap(({ notes, error }) => [...notes, error]).filter((each) => each !== '')).toEqual([]);
  });

  test.each(['=1+1', '+cmd|x', '-2', '@SUM(A1)', '\t=1', '＝1', "'=1", "''+a"])(
    '%j is no formula, and comes back',
    (text) => {
      const contact = { ...EMPTY_CARD, givenName: 'A', notes: text };
      const row = writeCsvRow(contact);
      expect(row).not.toMatch(/(^|,|")[=+\-@\t＝]/);
      expect(cards(CSV_HEADER + row)).toEqual([{ givenName: 'A', notes: text }]);
    },
  );

  test('a phone number stays as people dial it', () => {
    const phones = [{ number: '+44 20 7946 0958', type: '', primary: true }];
    expect(writeCsvRow({ ...EMPTY_CARD, phones })).toContain(',+44 20 7946 0958,');
  });
});

describe('CSV of others', () => {
  test('Google, as it is today', () => {
    const file =
      'First Name,Middle Name,Last Name,Organization Name,Organization Title,Birthday,Notes,Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value,Address 1 - Label,Address 1 - Formatted,Address 1 - Street,Address 1 - City,Event 1 - Label,Event 1 - Value,Relation 1 - Label,Relation 1 - Value,Custom Field 1 - Label,Custom Field 1 - Value\n' +
      'Ada,King,Lovelace,Engines,Countess,1815-12-10,"a, ""b""\nc",https://x.example/p.jpg,* myContacts ::: Friends,* Home,ada@example.com ::: l@example.com,Mobile,+44 20,Home,"1 Street\nLondon",1 Street,London,Anniversary,1835-07-08,Spouse,William,Hat,Blue\n';
    expect(cards(file)).toEqual([
      {
        givenName: 'Ada',
        middleName: 'King',
        familyName: 'Lovelace',
        company: 'Engines',
        jobTitle: 'Countess',
        birthday: { year: 1815, month: 12, day: 10 },
        notes: 'a, "b"\nc',
        emails: [
          { address: 'ada@example.com', type: 'home', primary: true },
          { address: 'l@example.com', type: 'home', primary: false },
        ],
        phones: [{ number: '+44 20', type: 'mobile', primary: false }],
        addresses: [
          { street: '1 Street', city: 'London', region: '', postalCode: '', country: '', type: 'home', primary: false },
        ],
        dates: [{ date: { year: 1835, month: 7, day: 8 }, type: 'anniversary' }],
        relations: [{ name: 'William', type: 'spouse' }],
        customFields: [{ label: 'Hat', value: 'Blue' }],
        labels: ['Friends'],
      },
    ]);
  });

  test('Google, as it was: in UTF-16, with types and organizations in a list', () => {
    const file =
      'Name,Given Name,Additional Name,Family Name,Given Name Yomi,Group Membership,E-mail 1 - Type,E-mail 1 - Value,IM 1 - Type,IM 1 - Service,IM 1 - Value,Organization 1 - Type,Organization 1 - Name,Organization 1 - Title\n' +
      '山田 太郎,太郎,,山田,たろう,* myContacts,Other,a@b,Home,Skype,taro,,会社,部長\n';
    expect(cards(Buffer.from(`\uFEFF${file}`, 'utf16le'))).toEqual([
      {
        givenName: '太郎',
        familyName: '山田',
        phoneticGivenName: 'たろう',
        emails: [{ address: 'a@b', type: 'other', primary: false }],
        messagingHandles: [{ handle: 'taro', service: 'Skype', type: 'home' }],
        company: '会社',
        jobTitle: '部長',
      },
    ]);
  });

  test('Outlook: in Windows-1252, with titles, streets in parts and dates of zeros', () => {
    const file =
      '"Title","First Name","Last Name","Suffix","Company","Job Title","Business Street","Business Street 2","Business City","Business Country/Region","Business Phone","Mobile Phone","Anniversary","Birthday","Categories","E-mail Address","E-mail 2 Address","Notes","Spouse","Web Page","Gender"\r\n' +
      '"Dr.","Jörg","Müller","","Contoso","Boss","Hauptstr. 1","Hof","Berlin","Deutschland","+49 30","+49 170","0/0/00","12/31/1970","Work;VIP","j@example.de","k@example.de","Hi","Eva","http://example.de","Unspecified"\r\n';
    expect(cards(Buffer.from(file, 'latin1'))).toEqual([
      {
        namePrefix: 'Dr.',
        givenName: 'Jörg',
        familyName: 'Müller',
        company: 'Contoso',
        jobTitle: 'Boss',
        addresses: [
          {
            street: 'Hauptstr. 1\nHof',
            city: 'Berlin',
            region: '',
            postalCode: '',
            country: 'Deutschland',
            type: 'work',
            primary: false,
          },
        ],
        phones: [
          { number: '+49 30', type: 'work', primary: false },
          { number: '+49 170', type: 'mobile', primary: false },
        ],
        birthday: { year: 1970, month: 12, day: 31 },
        emails: [
          { address: 'j@example.de', type: '', primary: false },
          { address: 'k@example.de', type: '', primary: false },
        ],
        notes: 'Hi',
        relations: [{ name: 'Eva', type: 'spouse' }],
        urls: [{ url: 'http://example.de', type: '', primary: false }],
        customFields: [{ label: 'Gender', value: 'Unspecified' }],
        labels: ['Work', 'VIP'],
      },
    ]);
  });

  test('of anybody: semicolons, columns that the caller names, and others as custom fields', () => {
    const columns = new Map([
      ['Vorname', 'First Name'],
      ['Geheim', '-'],
    ]);
    expect(cards('Vorname;Mobile;Geheim;Hut\nAda;0170;x;blau\n', columns)).toEqual([
      {
        givenName: 'Ada',
        phones: [{ number: '0170', type: 'mobile', primary: false }],
        customFields: [{ label: 'Hut', value: 'blau' }],
      },
    ]);
  });

  test('what a column does not hold is kept and noted, and so are columns that are not known, once', () => {
    const columns = 'First Name,Hut,Birthday,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Value,Event 1 - Value,Starred';
    const rows = ['Ada,blau,31.31.1815,Home,ada at home,\u200b,someday,maybe', 'Bob,rot,1.2.1990,,b@c,1,1990-01-02,no'];
    const [ada, bob] = read([columns, ...rows].join('\n'));
    expect(ada!.card.customFields).toEqual([
      { label: 'Hut', value: 'blau' },
      { label: 'Birthday', value: '31.31.1815' },
      { label: 'home', value: 'ada at home' },
      { label: 'Event', value: 'someday' },
    ]);
    expect(ada!.notes).toEqual([
      expect.objectContaining({ line: 2, text: expect.stringMatching(/^columns that are not known .*: "Hut"$/) }),
      ...[
        /^"31.31.1815" is no date, .*: it becomes a custom field$/,
        /^"maybe" is neither true nor false$/,
        /^"ada at home" is no email address, .*: it becomes a custom field$/,
        /^"\u200b" is no phone number, .*: it is left out$/,
        /^"someday" is no date/,
      ].map((text) => ({ line: 2, text: expect.stringMatching(text) })),
    ]);
    expect(bob!.notes).toEqual([]);
    const many = Array.from({ length: 21 }, (_, i) => `Address ${i + 1} - Street,Address ${i + 1} - City`);
    const streets = Array.from({ length: 21 }, (_, i) => `Street ${i},Town`);
    const [full] = read(['First Name', ...many].join() + '\n' + ['Ada', ...streets].join());
    expect(full!.card.customFields).toEqual([{ label: 'Address', value: 'Street 20, Town' }]);
    expect(full!.notes).toHaveLength(1);
  });

  test.each([
    ['no column that is known', 'Foo,Bar\na,b\n', [[1, 'the first row names no column that is known']]],
    [
      'a quote without an end',
      'First Name\nA\n"Ada\nb\n',
      [
        [2, ''],
        [3, 'a quote that begins here has no end'],
      ],
    ],
    ['a quote without an end in the first row', '"First Name\nAda\n', [[1, 'a quote that begins here has no end']]],
    [
      'a row without end',
      `First Name\nA\n${'x'.repeat(2e6)}\n`,
      [
        [2, ''],
        [3, 'the row is too long'],
      ],
    ],
    ['a million cells', `First Name\n${','.repeat(1e6)}\n`, [[2, '']]],
  ])('%s: the error says the line', (_, file, expected) => {
    expect(read(file).map(({ line, error }) => [line, error])).toEqual(expected);
  });
});

test('a column may have any name', () => {
  const named = cards('First Name,constructor,__proto__\nAda,a,b\n');
  expect(named).toEqual([
    {
      givenName: 'Ada',
      customFields: [
        { label: 'constructor', value: 'a' },
        { label: '__proto__', value: 'b' },
      ],
    },
  ]);
});
