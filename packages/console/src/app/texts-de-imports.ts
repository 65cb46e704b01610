import type { IMPORT_TEXTS as EN } from './texts-en-imports.ts';

/** What is said about imports that are taken back, in German. */
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
};
