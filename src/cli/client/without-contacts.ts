/** What is said where everybody's activity is asked for. */
export const WITHOUT_CONTACTS =
  'without --user, what is done with contacts and labels is left out; --user me has your own';
