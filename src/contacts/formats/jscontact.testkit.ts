import type { Generator } from '../../../test/support/generator.ts';

type Value = null | boolean | number | string | Value[] | { [name: string]: Value };
type Values = { [name: string]: Value };

/** A Card as programs of others may write it: with ids, kinds and parts that no field of a contact holds. */
export function someForeignCard(random: Generator): Values {
  const text = () => `t${random.text(6)}z`.replaceAll('\uFFFD', '');
  const uri = () => `https://example.org/${random.below(1000)}`;
  const maybe = (values: Values): Values =>
    Object.fromEntries(Object.entries(values).filter(() => random.below(2) > 0));
  const flags = (...names: string[]): Value =>
    Object.fromEntries(names.filter(() => random.below(2) > 0).map((name) => [name, true]));
  const unknown = (): Value => random.pick<Value>([1, -2.5, null, true, text(), [1, [text()]], { a: { b: text() } }]);
  const extras = (): Values => (random.below(3) > 0 ? {} : { [`example.com:${random.below(3)}`]: unknown() });
  const id = () => random.pick(['e', 'f_1', '-', 'A', 'x~', 'a/b', '__proto__', '7', '3']) + random.below(1000);
  const list = (entry: () => Values): Value =>
    Object.fromEntries(Array.from({ length: random.below(4) }, () => [id(), { ...entry(), ...extras() }]));
  const contexts = () => maybe({ contexts: flags('private', 'work'), pref: 1 + random.below(100) });
  const labelled = () => ({ ...contexts(), ...maybe({ label: text() }) });
  const date = (): Value =>
    random.pick<Value>([
      { year: 1900 + random.below(100), month: 1 + random.below(12), day: 1 + random.below(28) },
      { month: 3 },
      { '@type': 'Timestamp', utc: '2019-10-15T23:10:00Z' },
      { '@type': 'PartialDate', year: 5784, calendarScale: 'hebrew' },
    ]);
  const component = (...kinds: string[]): Value => ({ kind: random.pick(kinds), value: text(), ...extras() });
  const components = (...kinds: string[]): Value =>
    Array.from({ length: 1 + random.below(3) }, () => component(...kinds));
  return {
    '@type': 'Card',
    version: '1.0',
    uid: `urn:uuid:${random.below(1e9)}`,
    ...maybe({
      kind: random.pick(['individual', 'org', 'x-other']),
      language: 'de-AT',
      created: '2022-09-30T14:35:10Z',
      name: {
        ...maybe({ full: text(), isOrdered: true, defaultSeparator: ', ', sortAs: { surname: text() } }),
        ...maybe({
          components: components(
            'title',
            'given',
            'given2',
            'surname',
            'surname2',
            'generation',
            'credential',
            'separator',
          ),
        }),
        ...extras(),
      },
      nicknames: list(() => ({ name: text(), ...contexts() })),
      organizations: list(() => ({
        name: text(),
        ...maybe({ units: [{ name: text(), sortAs: 'u' }], sortAs: text() }),
      })),
      titles: list(() => ({ name: text(), ...maybe({ kind: 'role', organizationId: 'o1' }) })),
      speakToAs: {
        ...maybe({ grammaticalGender: 'neuter', pronouns: list(() => ({ pronouns: text(), ...contexts() })) }),
        ...extras(),
      },
      emails: list(() => ({ address: random.pick(['a@example.org', 'nobody', text()]), ...labelled() })),
      phones: list(() => ({
        number: random.pick(['tel:+1-555-555-5555;ext=5555', '+44 20', text()]),
        ...labelled(),
        ...maybe({ features: flags('voice', 'mobile', 'fax', 'text') }),
      })),
      onlineServices: list(() => ({
        ...random.pick<Values>([{ uri: uri() }, { user: text() }, { uri: 'xmpp:a@example.org', user: text() }]),
        ...maybe({ service: random.pick(['XMPP', 'Mastodon']) }),
        ...labelled(),
      })),
      preferredLanguages: list(() => ({ language: random.pick(['en', 'fr']), ...contexts() })),
      addresses: list(() => ({
        // One that has a time zone alone is the time zone of the contact, and gets an id of Kith's.
        full: text(),
        ...maybe({
          countryCode: 'AT',
          coordinates: 'geo:48.2,16.3',
          timeZone: 'Europe/Vienna',
          isOrdered: true,
          components: components('number', 'name', 'district', 'locality', 'postcode', 'separator'),
        }),
        ...contexts(),
      })),
      links: list(() => ({ uri: uri(), ...labelled(), ...maybe({ kind: 'contact', mediaType: 'text/html' }) })),
      anniversaries: list(() => ({ kind: random.pick(['birth', 'death', 'wedding']), date: date(), ...contexts() })),
      calendars: list(() => ({ kind: random.pick(['calendar', 'freeBusy']), uri: uri(), ...labelled() })),
      cryptoKeys: list(() => ({ uri: uri(), ...maybe({ mediaType: 'text/plain' }) })),
      directories: list(() => ({ kind: 'entry', uri: uri(), ...maybe({ listAs: 1 }) })),
      media: list(() => ({ kind: random.pick(['photo', 'logo', 'sound']), uri: uri() })),
      personalInfo: list(() => ({
        kind: random.pick(['hobby', 'expertise']),
        value: text(),
        ...maybe({ level: 'high' }),
      })),
      schedulingAddresses: list(() => ({ uri: 'mailto:a@example.org', ...labelled() })),
      notes: list(() => ({ note: text(), ...maybe({ author: { name: text() }, created: '2022-09-30T14:35:10Z' }) })),
      keywords: { [text()]: true, Family: true },
      members: { 'urn:uuid:1': true },
      relatedTo: { 'urn:uuid:2': { relation: flags('friend') }, [text()]: { relation: flags('spouse', 'agent') } },
      localizations: { de: { 'titles/t1/name': text() } },
      vCardProps: [
        ['x-foo', { group: 'item2', type: ['a', 'b'] }, 'unknown', text()],
        ['x-bar', {}, 'text', text()],
      ],
      'example.com:own': unknown(),
      unheardOf: unknown(),
    }),
  };
}

/** What of a value another one does not have, as pointers. */
export function missingIn(written: unknown, original: unknown, at = ''): string[] {
  if (Array.isArray(original)) {
    if (!Array.isArray(written) || written.length < original.length) return [at];
    return original.flatMap((each: unknown, i) => missingIn(written[i], each, `${at}/${i}`));
  }
  if (typeof original === 'object' && original !== null) {
    // An object without anything in it says nothing.
    const holder = typeof written === 'object' && written !== null ? written : {};
    return Object.entries(original).flatMap(([name, value]) =>
      missingIn(Object.getOwnPropertyDescriptor(holder, name)?.value, value, `${at}/${name}`),
    );
  }
  return written === original ? [] : [at];
}
