/** What is said about earlier versions of contacts, in German. */
export const VERSION_TEXTS = {
  lead: 'Was der Kontakt war, bevor er geändert wurde. Auch das Wiederherstellen ist eine Änderung und kann hier zurückgenommen werden.',
  none: 'In den letzten Tagen wurde nichts geändert.',
  actions: {
    updated: 'Geändert',
    deleted: 'Gelöscht',
    undeleted: 'Nach dem Löschen wiederhergestellt',
    merged: 'Zusammengeführt',
    unmerged: 'Zusammenführung zurückgenommen',
  } as Readonly<Record<string, string>>,
  before: 'Vorher',
  empty: 'leer',
  until: 'aufbewahrt bis',
  restore: 'Wiederherstellen',
  restored: 'Der Kontakt ist wieder wie damals.',
  more: 'Mehr anzeigen',
  failures: { CONTACT_VERSION_NOT_FOUND: 'Diese Fassung wird nicht mehr aufbewahrt.' },
};
