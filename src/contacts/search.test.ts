import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ContactService, type CreateContactRequestSchema } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import type { Kith } from '../../test/support/kith.ts';
import { startOn } from '../../test/support/stored.ts';

const phone = (number: string, phoneRegion = '') => ({ phones: [{ number }], phoneRegion });
const email = (address: string) => ({ emails: [{ address }] });

/** The contacts of one address book. */
const BOOK = {
  picard: { givenName: 'Jean-Luc', familyName: 'Picard', company: 'Stargazer & Sons (Ltd.)' },
  luc: { givenName: 'Luc', familyName: 'Besson' },
  hara: { givenName: 'Scarlett', familyName: 'O’Hara', nickname: 'Katie "Scar"' },
  darcy: { givenName: 'Fitzwilliam', familyName: "D'Arcy" },
  lukasz: { givenName: 'Łukasz', familyName: 'Łódźki', middleName: 'Żółć' },
  dorde: { givenName: 'Đorđe', familyName: 'Ðóra' },
  orsted: { givenName: 'Hans', familyName: 'Ørsted', company: 'Smørrebrød Æbler' },
  ghajn: { givenName: 'Ħal', familyName: 'Għaxaq' },
  strasse: { company: 'Straßenbau Groß' },
  thor: { givenName: 'Þór', familyName: 'Œuvre' },
  pasted: { givenName: '\u200EMa\u00ADria\u200B', familyName: '\uFEFFCurie\u2060' },
  dashes: { company: 'Hewlett–Packard—Enterprise' },
  jose: { givenName: 'José', familyName: 'García Márquez' },
  ada: { givenName: 'Ada', familyName: 'King', middleName: 'Augusta', nickname: 'Enchantress' },
  adam: { givenName: 'Adam', familyName: 'Ant' },
  ming: { givenName: '小明', familyName: '王' },
  wang: { givenName: '王小红' },
  taro: { givenName: '太郎', familyName: '山田', phoneticGivenName: 'タロウ', phoneticFamilyName: 'ヤマダ' },
  tokyo: { company: '東京電力株式会社' },
  minsu: { givenName: '민수', familyName: '김' },
  somchai: { givenName: 'สมชาย', familyName: 'ใจดี' },
  gagarin: { givenName: 'Юрий', familyName: 'Гагарин-Ёлкин' },
  odysseus: { givenName: 'Ὀδυσσεύς' },
  isik: { givenName: 'Işık', familyName: 'İpek' },
  full: { givenName: 'Ｆｕｌｌ', familyName: 'ｗｉｄｔｈ' },
  cohen: { givenName: 'שָׁלוֹם', familyName: 'כהן' },
  muhammad: { givenName: 'مُحَمَّد' },
  london: { familyName: 'Written', ...phone('+44 (0)20 7946 0018') },
  local: { familyName: 'Domestic', ...phone('020 7946 0999', 'GB') },
  flowers: { company: 'Florist', ...phone('1-800-FLOWERS', 'US') },
  desk: { company: 'Reception', ...phone('ask at the desk') },
  extension: { familyName: 'Extended', ...phone('+1 202 555 0143 ext. 77') },
  arabic: { familyName: 'Digits', ...phone('٠٢٠ ٧٩٤٦ ٠٩٥٨', 'GB') },
  unread: { familyName: 'Internal', ...phone('4711-22') },
  mail: { familyName: 'Mail', ...email('grace.hopper+navy@mail.example-corp.org') },
  idn: { familyName: 'Idn', ...email('zoë@bücher.example') },
  numbers: { company: '24/7 Repairs 3M' },
} satisfies Record<string, MessageInitShape<typeof CreateContactRequestSchema>>;
type Name = keyof typeof BOOK;

/** Queries, and what they find. */
const ROWS: readonly [query: string, found: readonly Name[]][] = [
  ['luc', ['picard', 'luc']],
  ['jean-luc', ['picard']],
  ['Jean‑Luc', ['picard']], // U+2011
  ['jeanluc', ['picard']],
  ['picard jean', ['picard']],
  ['Picard, Luc', ['picard']],
  ['picard besson', []],
  ['sons ltd', ['picard']],
  ["o'hara", ['hara']],
  ['O‘Hara', ['hara']],
  ['ohara', ['hara']],
  ['hara scar', ['hara']],
  ['"Scar"', ['hara']],
  ['arcy', ['darcy']],
  ['D’ARCY fitz', ['darcy']],
  ['lukasz', ['lukasz']],
  ['ŁUKASZ', ['lukasz']],
  ['lodzki zolc', ['lukasz']],
  ['dorde', ['dorde']],
  ['Đorđe dora', ['dorde']],
  ['orsted', ['orsted']],
  ['smorrebrod', ['orsted']],
  ['aebler', ['orsted']],
  ['æb', ['orsted']],
  ['hal ghaxaq', ['ghajn']],
  ['ħal', ['ghajn']],
  ['strassenbau', ['strasse']],
  ['STRAẞE', ['strasse']],
  ['gross', ['strasse']],
  ['thor oeuv', ['thor']],
  ['maria', ['pasted']],
  ['Ma\u00ADria Curie', ['pasted']],
  ['\u200Ecurie', ['pasted']],
  ['hewlett-packard', ['dashes']],
  ['hewlett−packard—ent', ['dashes']],
  ['packard', ['dashes']],
  ['enterprise hew', ['dashes']],
  ['jose marquez', ['jose']],
  ['MÁRQUEZ garc', ['jose']],
  ['ada', ['ada', 'adam']],
  ['ada ant', ['adam']],
  ['king augusta ada', ['ada']],
  ['enchant king', ['ada']],
  ['小明', ['ming']],
  ['王小明', ['ming']],
  ['王 小明', ['ming']],
  ['小明 王', ['ming']],
  ['王', ['ming', 'wang']],
  ['小', ['ming', 'wang']],
  ['明小', []],
  ['山田太郎', ['taro']],
  ['太郎 山田', ['taro']],
  ['太郎山田', ['taro']],
  ['田', ['taro']],
  ['ヤマダ', ['taro']],
  ['ﾔﾏﾀﾞ ﾀﾛｳ', ['taro']],
  ['電力', ['tokyo']],
  ['株式会社 東京', ['tokyo']],
  ['민수', ['minsu']],
  ['김민수', ['minsu']],
  ['김 민', ['minsu']],
  ['ชาย', ['somchai']],
  ['ใจดี สม', ['somchai']],
  ['ЮРИЙ', ['gagarin']],
  ['елкин', ['gagarin']],
  ['οδυσσευς', ['odysseus']],
  ['ISIK ipek', ['isik']],
  ['full WIDTH', ['full']],
  ['ｆｕｌｌ', ['full']],
  ['שלום', ['cohen']],
  ['محمد', ['muhammad']],
  ['+442079460018', ['london']],
  ['0044 20 7946 0018', ['london']],
  ['020 7946 0018', ['london']],
  ['+44 (0)20 7946 0018', ['london']],
  ['7946-0018', ['london']],
  ['20794600', ['london']],
  ['+44 20 7946 0999', ['local']],
  ['(020) 79460999', ['local']],
  ['+4420794609', ['local', 'arabic']],
  ['02079460958', ['arabic']],
  ['٧٩٤٦ ٠٩٥٨', ['arabic']],
  ['1-800-flowers', ['flowers']],
  ['flowers', ['flowers']],
  ['+1 800 356 9377', ['flowers']],
  ['3569377', ['flowers']],
  ['desk recep', ['desk']],
  ['(202) 555-0143', ['extension']],
  ['12025550143', ['extension']],
  ['4711', ['unread']],
  ['471122', ['unread']],
  ['1122', ['unread']],
  ['4711-23', []],
  ['hopper', ['mail']],
  ['grace.hopper', ['mail']],
  ['navy@mail', ['mail']],
  ['example-corp.org', ['mail']],
  ['corp.org hop', ['mail']],
  ['org', []],
  ['zoe@bucher', ['idn']],
  ['bücher', ['idn']],
  ['24/7', ['numbers']],
  ['3m 24', ['numbers']],
  ['repairs 7', ['numbers']],
  ['%', []],
  ['_', []],
  ['nobody', []],
];

describe.each(databases)('a search on $name', (kind) => {
  let kith: Kith;
  let client: ReturnType<typeof kith.client<typeof ContactService>>;
  const names = new Map<string, Name>();
  beforeAll(async () => {
    kith = await startOn(kind);
    client = kith.client(ContactService, (await kith.user()).accessToken);
    for (const [name, request] of Object.entries(BOOK)) {
      names.set((await client.createContact(request)).contact!.id, name as Name);
    }
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each(ROWS)('for "%s" finds %j', async (query, found) => {
    const { contacts, totalSize } = await client.listContacts({ query, includeTotalSize: true });
    expect(new Set(contacts.map(({ id }) => names.get(id)))).toEqual(new Set(found));
    expect(contacts).toHaveLength(found.length);
    expect(totalSize).toBe(found.length);
  });

  test('holds what was written of each contact', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
