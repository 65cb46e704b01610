import type { SELECTION_TEXTS as EN } from './texts-en-selection.ts';

/** What is said about what is selected, and about actions on many at once, in German. */
export const SELECTION_TEXTS: typeof EN = {
  selection: 'Auswahl',
  selected: (count) => `${count.toLocaleString('de')} ausgewählt`,
  selectedMax: 'Mehr lässt sich nicht auf einmal auswählen.',
  selectOne: (name) => `${name} auswählen`,
  selectAll: 'Alle gezeigten auswählen',
  clearSelection: 'Auswahl aufheben',
  failures: (count) => `${count} fehlgeschlagen.`,
  doneOne: 'erledigt',
  notDone: 'nicht begonnen',
  nothingToDo: 'Es gibt nichts zu ändern',
  undone: (count) => `Zurückgenommen: ${count}`,
};
