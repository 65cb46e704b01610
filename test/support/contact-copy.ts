import type { Client } from '@connectrpc/connect';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import type { ContactService, SyncContactsResponse } from '../../gen/kith/contact/v1/contact_service_pb.ts';

type Contacts = Pick<Client<typeof ContactService>, 'syncContacts'>;

/** A copy of the contacts of a user, as a client keeps it with SyncContacts. */
export class ContactCopy {
  cursor = '';
  areLabelsChanged = false;
  /** How many contacts and tombstones were answered. */
  answered = 0;
  /** What the ids of contacts that are gone were merged into; '' for nothing. */
  readonly tombstones = new Map<string, string>();
  readonly #contacts = new Map<string, Contact>();

  /** Takes one answer in. */
  async page(client: Contacts, pageSize: number): Promise<SyncContactsResponse> {
    const answer = await client.syncContacts({ cursor: this.cursor, pageSize });
    for (const contact of answer.contacts) {
      this.#contacts.set(contact.id, contact);
      this.tombstones.delete(contact.id);
    }
    for (const { contactId, mergedIntoContactId } of answer.tombstones) {
      this.#contacts.delete(contactId);
      this.tombstones.set(contactId, mergedIntoContactId);
    }
    this.answered += answer.contacts.length + answer.tombstones.length;
    this.areLabelsChanged ||= answer.labelsChanged;
    this.cursor = answer.nextCursor;
    return answer;
  }

  /** Takes answers in until there is no more. */
  async sync(client: Contacts, pageSize: number): Promise<void> {
    while ((await this.page(client, pageSize)).hasMore);
  }

  get size(): number {
    return this.#contacts.size;
  }

  get(id: string): Contact | undefined {
    return this.#contacts.get(id);
  }

  /** By their ids. */
  contacts(): Contact[] {
    return [...this.#contacts.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }
}
