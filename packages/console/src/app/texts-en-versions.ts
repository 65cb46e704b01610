/** What is said about earlier versions of contacts, in English. */
export const VERSION_TEXTS = {
  lead: 'What the contact was before it was changed. Restoring is a change, too, and can be taken back here.',
  none: 'Nothing was changed in the last days.',
  actions: {
    updated: 'Changed',
    deleted: 'Deleted',
    undeleted: 'Restored after it was deleted',
    merged: 'Merged',
    unmerged: 'Merge taken back',
  } as Readonly<Record<string, string>>,
  before: 'Before',
  empty: 'empty',
  until: 'kept until',
  restore: 'Restore this',
  restored: 'The contact is as it was then.',
  more: 'Show more',
  failures: { CONTACT_VERSION_NOT_FOUND: 'This version is not kept any more.' },
};
