import type { Contact } from '@kith/client/contacts';
import { contactTexts } from './contact-texts.ts';

/** What a contact is called in lists: the name, or what else there is to know it by. */
export function contactName(contact: Contact): string {
  const { namePrefix, givenName, middleName, familyName, nameSuffix, nickname, company, emails, phones } = contact;
  const name = [givenName, middleName, familyName].filter(Boolean).join(' ');
  if (name !== '') return [namePrefix, name, nameSuffix].filter(Boolean).join(' ');
  return nickname || company || emails[0]?.address || phones[0]?.number || contactTexts.nameless;
}
