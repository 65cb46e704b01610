import type { CONTACT_TEXTS as EN } from './texts-en-contacts.ts';

/** What is said about many contacts at once, labels, imports and exports, in German. */
export const CONTACT_TEXTS: typeof EN = {
  label: 'Label',
  labels: 'Labels',
  newLabel: 'Neues Label',
  editLabel: 'Label ändern',
  noLabels:
    'Ein Label fasst Kontakte zusammen. Ziehen Sie Kontakte darauf, oder wählen Sie sie aus und fügen es hinzu.',
  allContacts: 'Alle Kontakte',
  color: 'Farbe',
  withColor: 'In einer Farbe zeigen',
  labelSaved: (name) => `Label ${name} gespeichert`,
  labelDeleted: (name) => `Label ${name} gelöscht`,
  labelRestored: (name) => `Das Label ${name} ist wieder da`,
  addLabel: 'Label hinzufügen',
  removeLabel: 'Label entfernen',
  labelled: (count, name) => `${count} ${count === 1 ? 'Kontakt hat' : 'Kontakte haben'} das Label ${name}`,
  unlabelled: (count, name) => `Label ${name} von ${count} entfernt`,
  contactsDeleted: (count) => `${count} ${count === 1 ? 'Kontakt' : 'Kontakte'} gelöscht`,
  shownCount: (count) => `${count.toLocaleString('de')} gezeigt`,

  duplicates: 'Dubletten',
  importContacts: 'Kontakte importieren',
  importContactsHint:
    'vCard (.vcf) oder CSV von Google, Outlook und anderen. Nichts wird geschrieben, bevor Sie es gesehen haben.',
  asNamed: 'Wie der Name sagt',
  phoneRegion: 'Land von Nummern ohne Vorwahl',
  phoneRegionHint: 'Zwei Buchstaben, etwa DE.',
  keepExisting: 'Kontakte, die schon da sind, lassen, wie sie sind',
  wouldImport: (count) => `${count.toLocaleString('de')} würden angelegt oder geändert.`,
  reading: 'Wird gelesen …',
  format: 'Format',
  saveFile: 'Datei speichern',
  exported: 'Die Datei ist gespeichert.',
  onlyFound: 'Nur was die Suche findet',
};
