import type { DescEnum } from '@bufbuild/protobuf';
import { connect, targetOf } from '../client/connect.ts';
import { ownContract } from '../client/contract.ts';
import { type Command, UsageError } from '../command.ts';
import { enumWord } from '../resources/fields.ts';
import { didYouMean } from '../suggest.ts';

const MERGED_MAX = 10;

/** The command of MergeContacts, which takes the ids of the contacts as they are: their etags are read first. */
export function mergeContactsBy(ofMethod: Command): Command {
  const fields = fieldWords();
  return {
    ...ofMethod,
    args: [
      {
        name: 'ID',
        help: 'The contacts, 2 to 10. The first one stays, unless --kept-contact-id names another.',
        optional: true,
        multiple: true,
      },
    ],
    options: {
      ...ofMethod.options,
      contacts: {
        value: 'JSON',
        multiple: true,
        help: 'The contacts in place of IDs, each with the etag that it must still have, as JSON: {"contactId": "...", "etag": "..."}.',
      },
      choices: {
        value: 'FIELD=ID',
        multiple: true,
        help: `For a field in which the contacts differ, the one whose value stands, such as given-name=ID; or as JSON: {"field": "CONTACT_FIELD_GIVEN_NAME", "contactId": "..."}. Fields: ${[...fields.keys()].join(', ')}.`,
      },
    },
    examples: ['kith contacts merge ID ID --prefer-kept', 'kith contacts merge ID1 ID2 --choices given-name=ID2'],
    async run(call) {
      const { words: ids, options, signal } = call;
      const given = options.all('choices').map((text) => choiceJson(text, fields));
      const choices = given.length === 0 ? {} : { choices: given };
      if (ids.length === 0) return ofMethod.run({ ...call, options: options.with(choices) });
      if (options.has('contacts'))
        throw new UsageError('the contacts are given by their ids and by --contacts: give one of them');
      if (ids.length < 2 || ids.length > MERGED_MAX) throw new UsageError(`merge takes 2 to ${MERGED_MAX} ids`);
      if (options.has('explain'))
        throw new UsageError('--explain takes --contacts here, since the etags of IDs are read first');
      const kith = connect(await targetOf(call));
      const contacts: string[] = [];
      for (const contactId of ids) {
        const { contact } = await kith.contacts.get({ contactId }, { signal });
        contacts.push(JSON.stringify({ contactId, etag: contact.etag }));
      }
      const keptId = options.value('kept-contact-id') ?? ids[0]!;
      return ofMethod.run({ ...call, options: options.with({ ...choices, contacts, 'kept-contact-id': keptId }) });
    },
  };
}

function fieldWords(): ReadonlyMap<string, string> {
  const desc: DescEnum = ownContract().registry.getEnum('kith.contact.v1.ContactField')!;
  const values = desc.values.filter(({ number }) => number !== 0);
  return new Map(values.map(({ name }) => [enumWord(desc, name), name]));
}

function choiceJson(text: string, fields: ReadonlyMap<string, string>): string {
  if (text.startsWith('{')) return text;
  const [word = '', contactId] = text.split('=');
  if (contactId === undefined) throw new UsageError(`--choices takes FIELD=ID, not ${JSON.stringify(text)}`);
  const field = fields.get(word.toLowerCase().replaceAll('_', '-'));
  if (field === undefined) {
    const words = [...fields.keys()];
    throw new UsageError(
      `a contact has no field ${JSON.stringify(word)}${didYouMean(word, words) || `; it has ${words.join(', ')}`}`,
    );
  }
  return JSON.stringify({ field, contactId });
}
