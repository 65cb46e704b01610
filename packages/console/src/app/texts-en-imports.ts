/** What is said about imports that are taken back, in English. */
export const IMPORT_TEXTS = {
  takeBack: 'Take this import back',
  takeBackOne: 'Take back',
  earlier: 'Earlier imports',
  earlierLead: 'What a file created or changed can be taken back as a whole, for some time.',
  source: 'File',
  unnamed: '(without a name)',
  wrote: (created: string, updated: string) => `${created} created, ${updated} changed`,
  until: 'until',
  allTakenBack: 'taken back',
  running: 'Taking it back …',
  outcome: (deleted: string, restored: string) =>
    `Taken back: ${deleted} that were created are deleted, ${restored} that were changed are as before.`,
  stays: (count: string) => `${count} stay as they are, since they were changed or merged after the import:`,
  nothing: 'There was nothing left to take back.',
  more: 'Show more',
  andMore: (count: string) => `and ${count} more`,
};
