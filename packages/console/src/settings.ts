/** What the server says in the page (src/http/console.ts). */
const { account, signUp = 'closed', loginCodes } = document.documentElement.dataset;

/** What the operator has set. */
export const settings = {
  /** Where the account pages are, with a slash at the end; undefined where there are none. */
  account,
  /** Who may sign up: `closed`, `invitation` or `open`. */
  signUp,
  /** Whether people sign in with codes that are mailed. */
  loginCodes: loginCodes !== undefined,
};
