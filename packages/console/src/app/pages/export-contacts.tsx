import { ContactFormat, ContactService } from '@kith/client/contacts';
import { useState } from 'react';
import { useService } from '../context.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Form, Select } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { saveFile } from '../save-file.ts';
import { contactTexts } from '../contact-texts.ts';
import { t } from '../texts.ts';

const ENDINGS: Readonly<Record<string, { readonly ending: string; readonly type: string; readonly label: string }>> = {
  [ContactFormat.VCARD_4]: { ending: 'vcf', type: 'text/vcard', label: 'vCard 4.0' },
  [ContactFormat.VCARD_3]: { ending: 'vcf', type: 'text/vcard', label: 'vCard 3.0' },
  [ContactFormat.CSV]: { ending: 'csv', type: 'text/csv', label: 'CSV' },
  [ContactFormat.JSCONTACT]: { ending: 'json', type: 'application/jscontact+json', label: 'JSContact' },
};

export interface ExportProps {
  /** What the list is filtered by. */
  readonly query: string;
  readonly isStarred: boolean;
  readonly onClose: () => void;
}

/** Saves contacts as a file. */
export default function ExportContacts({ query, isStarred, onClose }: ExportProps) {
  const contacts = useService(ContactService, 'Contact');
  const [format, setFormat] = useState(String(ContactFormat.VCARD_4));
  const isFiltered = query !== '' || isStarred;
  const [onlyFound, setOnlyFound] = useState(isFiltered);
  const request = () => ({
    format: Number(format) as ContactFormat,
    ...(onlyFound && { query, ...(isStarred && { starred: true }) }),
  });
  const save = async () => {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const { data } of contacts.export(request())) parts.push(data as Uint8Array<ArrayBuffer>);
    const { ending, type } = ENDINGS[format]!;
    saveFile(`contacts.${ending}`, parts, type);
    onClose();
    notify(contactTexts.exported);
  };
  return (
    <Dialog title={t.exportFile} onClose={onClose}>
      <Form
        action={contactTexts.saveFile}
        onSubmit={save}
        onCancel={onClose}
        aside={<AsCode call={() => ({ method: 'kith.contact.v1.ContactService/ExportContacts', body: request() })} />}
      >
        {() => (
          <>
            <Select
              label={contactTexts.format}
              value={format}
              options={[ContactFormat.VCARD_4, ContactFormat.VCARD_3, ContactFormat.CSV, ContactFormat.JSCONTACT].map(
                (each) => [String(each), ENDINGS[each]!.label] as const,
              )}
              onChange={setFormat}
            />
            {isFiltered && <Checkbox label={contactTexts.onlyFound} checked={onlyFound} onChange={setOnlyFound} />}
          </>
        )}
      </Form>
    </Dialog>
  );
}
