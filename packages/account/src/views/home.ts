import { showStep } from '../card.ts';
import { element } from '../elements.ts';
import { accessToken, signOut } from '../session.ts';
import { settings } from '../settings.ts';
import { texts } from '../texts.ts';
import { readMe } from './me.ts';
import { askForPassword, goOn } from './sign-in.ts';

/** Shows whose account this is and what can be done with it, once the person has signed in. */
export async function home(notice?: string): Promise<void> {
  if ((await accessToken()) === undefined) await askForPassword({ notice });
  const { name, email, isVerified } = await readMe();
  showStep({
    title: texts.home,
    notice,
    lead: texts.homeLead(name),
    content: [
      ...(isVerified ? [] : [element('p', { class: 'lead' }, texts.unverified(email))]),
      ...(settings.home === undefined
        ? []
        : [element('a', { class: 'button primary', href: settings.home }, texts.goOn)]),
    ],
    ways: [
      ...(isVerified ? [] : [{ label: texts.verify, to: 'verify-email' }]),
      { label: texts.changePassword, to: 'change-password' },
      { label: texts.signOut, to: leave },
    ],
  });
}

/** Signs in, and leads to where people go on. */
export async function signInPage(): Promise<void> {
  if ((await accessToken()) !== undefined) return home();
  await askForPassword({});
  goOn();
}

function leave(): void {
  // Where the server cannot be reached, the page says so once it is loaded again.
  void signOut().then(
    () => home(texts.signedOut),
    () => location.reload(),
  );
}
