/** What is said about what is selected, and about actions on many at once, in English. */
export const SELECTION_TEXTS = {
  selection: 'Selection',
  selected: (count: number) => `${count.toLocaleString('en')} selected`,
  selectedMax: 'More cannot be selected at once.',
  selectOne: (name: string) => `Select ${name}`,
  selectAll: 'Select all that are shown',
  clearSelection: 'Clear selection',
  failures: (count: number) => `${count} failed.`,
  doneOne: 'done',
  notDone: 'not done',
  nothingToDo: 'There is nothing to change',
  undone: (count: number) => `Taken back: ${count}`,
};
