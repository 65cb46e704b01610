import type { IMPORT_TEXTS as EN } from './texts-en-imports.ts';

/** What is said about files that are imported, and about taking imports back, in German. */
export const IMPORT_TEXTS: typeof EN = {
  takeBack: 'Diesen Import zurücknehmen',
  takeBackOne: 'Zurücknehmen',
  earlier: 'Frühere Importe',
  earlierLead: 'Was eine Datei angelegt oder geändert hat, lässt sich einige Zeit lang als Ganzes zurücknehmen.',
  source: 'Datei',
  unnamed: '(ohne Namen)',
  wrote: (created, updated) => `${created} angelegt, ${updated} geändert`,
  until: 'bis',
  allTakenBack: 'zurückgenommen',
  running: 'Wird zurückgenommen …',
  outcome: (deleted, restored) =>
    `Zurückgenommen: ${deleted} angelegte sind gelöscht, ${restored} geänderte sind wie vorher.`,
  stays: (count) => `${count} bleiben, wie sie sind, da sie nach dem Import geändert oder zusammengeführt wurden:`,
  nothing: 'Es war nichts mehr zurückzunehmen.',
  more: 'Mehr zeigen',
  andMore: (count) => `und ${count} weitere`,
  importUsersHint:
    'CSV, dessen erste Zeile die Spalten nennt (username, email, name, role …), oder JSON, eine Person je Zeile. Nichts wird geschrieben, bevor Sie es gesehen haben.',
  file: 'Datei',
  orDrop: 'Oder hier ablegen.',
  fileTooLarge:
    'Diese Datei ist zu groß für einen Browser. Die Kommandozeile nimmt sie: kith users import, kith contacts import.',
  nothingInFile: 'In dieser Datei steht nichts.',
  columns: 'Was die Spalten enthalten',
  leaveOut: 'Weglassen',
  columnsMissing:
    'Neue Personen brauchen Benutzername, E-Mail-Adresse und Namen: Wählen Sie die Spalten, die sie enthalten.',
  recordsFound: (count, bad) =>
    `${count.toLocaleString('de')} gefunden${bad === 0 ? '.' : `, davon ${bad} nicht lesbar.`}`,
  preview: 'Vorschau',
  line: 'Zeile',
  isThere: 'schon da',
  isNew: 'neu',
  updateExisting: 'Personen ändern, die schon da sind und abweichen; sonst werden diese abgelehnt',
  importCount: (count) => `${count.toLocaleString('de')} importieren`,
  imported: (count) => `${count.toLocaleString('de')} erledigt.`,
  importStatuses: { created: 'angelegt', updated: 'geändert', same: 'unverändert', refused: 'abgelehnt' },
  recordProblems: {
    'not-json': 'Diese Zeile ist kein JSON:',
    'not-object': 'Diese Zeile ist kein Objekt:',
    'unknown-field': 'Dieses Feld gibt es nicht:',
    unread: 'Ein Wert ist nicht lesbar:',
    cells: 'Die Zeile hat eine andere Zahl von Zellen als die erste:',
  },
  importContactsHint:
    'vCard (.vcf), CSV von Google, Outlook und anderen oder JSContact (.json). Nichts wird geschrieben, bevor Sie es gesehen haben.',
  asNamed: 'Wie der Name sagt',
  phoneRegion: 'Land von Nummern ohne Vorwahl',
  phoneRegionHint: 'Zwei Buchstaben, etwa DE.',
  keepExisting: 'Kontakte, die schon da sind, lassen, wie sie sind',
  wouldImport: (count) => `${count.toLocaleString('de')} würden angelegt oder geändert.`,
  reading: 'Wird gelesen …',
};
