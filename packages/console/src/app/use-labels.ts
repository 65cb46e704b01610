import { type Contact, ContactService, ContactStatus } from '@kith/client/contacts';
import { KithError } from '@kith/client/calls';
import { type Label, LabelService } from '@kith/client/labels';
import { type QueryClient, useQuery } from '@tanstack/react-query';
import { useService } from './context.tsx';
import { contactName } from './contact-name.ts';
import type { Bulk } from './parts/bulk.tsx';
import type { Outcome } from './run-each.ts';
import { contactTexts } from './contact-texts.ts';

/** As many labels as a user may have by default. */
const LABELS_MAX = 1000;

/** The labels of whoever is signed in, by name; empty until they are there. */
export function useLabels(): readonly Label[] {
  const labels = useService(LabelService, 'Label');
  const { data = [] } = useQuery({
    queryKey: ['labels'],
    queryFn: async ({ signal }) => (await labels.list({ pageSize: LABELS_MAX }, { signal }).page()).labels,
  });
  return data;
}

/** Asks again for all that labels are shown in. */
export function refreshContacts(queries: QueryClient): void {
  for (const key of ['contacts', 'contact', 'labels']) void queries.invalidateQueries({ queryKey: [key] });
  // What is found by comparing many contacts is asked for when it is shown next.
  for (const key of ['duplicates', 'merges']) void queries.invalidateQueries({ queryKey: [key], refetchType: 'none' });
}

/** Adds a label to contacts, or takes it from them; it can be taken back. Contacts that are so already are left out. */
export function useLabelContacts(bulk: Bulk): (label: Label, contacts: readonly Contact[], isAdded: boolean) => void {
  const service = useService(ContactService, 'Contact');
  return (label, contacts, isAdded) => {
    const send = async (adds: boolean, items: readonly Contact[]): Promise<readonly Outcome<undefined>[]> => {
      const { results } = await service.label({
        contacts: items.map(({ id }) => ({ contactId: id })),
        ...(adds ? { addLabelIds: [label.id] } : { removeLabelIds: [label.id] }),
      });
      return results.map(({ status, refusal }) =>
        status === ContactStatus.UPDATED || refusal === undefined
          ? { kind: 'done', result: undefined }
          : { kind: 'failed', error: KithError.ofRefusal(refusal) },
      );
    };
    bulk.start({
      title: isAdded ? contactTexts.addLabel : contactTexts.removeLabel,
      items: contacts.filter(({ labelIds }) => labelIds.includes(label.id) !== isAdded),
      nameOf: contactName,
      run: { all: (items) => send(isAdded, items) },
      undo: {
        all: (done) =>
          send(
            !isAdded,
            done.map(({ item }) => item),
          ),
      },
      done: (count) =>
        isAdded ? contactTexts.labelled(count, label.name) : contactTexts.unlabelled(count, label.name),
    });
  };
}
