import type { Contact } from '@kith/client/contacts';
import { t } from './texts.ts';

/** What a contact is called in lists: the name, or what else there is to know it by. */
export function contactName({ givenName, familyName, nickname, company, emails, phones }: Contact): string {
  const name = `${givenName} ${familyName}`.trim();
  return name || nickname || company || emails[0]?.address || phones[0]?.number || t.nameless;
}
