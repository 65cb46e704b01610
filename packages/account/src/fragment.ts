/**
 * What the link of a mail has brought along. It is in the fragment of the address, which browsers send to nobody, and is
 * taken out of the address at once, so that it stands in no history and nobody reads it on the screen.
 */
const opened = location.hash;
const values = new URLSearchParams(opened.slice(1));
if (opened !== '') history.replaceState(null, '', location.pathname);
// Another link for the page that is open changes the fragment alone.
addEventListener('hashchange', () => location.reload());

/** The code of eight digits, or the token, that stood in the link; undefined for none, or for what cannot be one. */
export const linkCode = matching('code', /^\d{8}$/);
export const linkToken = matching('token', /^[\w.~-]{16,128}$/);

function matching(name: string, form: RegExp): string | undefined {
  const value = values.get(name);
  return value !== null && form.test(value) ? value : undefined;
}

/** Loads the page again, with what it was opened with. */
export function reopen(): void {
  history.replaceState(null, '', `${location.pathname}${opened}`);
  location.reload();
}
