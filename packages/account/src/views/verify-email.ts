import { codeField } from '../fields.ts';
import { showForm } from '../form.ts';
import { linkCode } from '../fragment.ts';
import { texts } from '../texts.ts';
import { home } from './home.ts';
import { callSignedIn, readMe, requireSignIn } from './me.ts';

const TO_HOME = { label: texts.home, to: './' };

/**
 * Confirms that the address of the account is the person's. It takes the session of that account: who opens the link
 * without it is asked to sign in, and gets no further.
 */
export async function verifyEmail(): Promise<void> {
  await requireSignIn();
  const { email, isVerified } = await readMe();
  if (isVerified) return home(texts.verified);
  if (linkCode !== undefined) return enterCode(email);
  showForm({
    title: texts.verify,
    lead: texts.verifySendLead(email),
    fields: [],
    action: texts.verifySend,
    ways: [{ label: texts.haveCode, to: () => enterCode(email) }, TO_HOME],
    async submit() {
      await callSignedIn('RequestEmailVerification', {});
      enterCode(email, texts.verifySent);
    },
  });
}

function enterCode(email: string, notice?: string): void {
  showForm({
    title: texts.verify,
    notice,
    lead: linkCode === undefined ? texts.verifyLead(email) : texts.verifyLinkLead(email),
    fields: linkCode === undefined ? [codeField()] : [],
    action: texts.confirm,
    ways: [{ label: texts.sendAnother, to: 'verify-email' }, TO_HOME],
    async submit(values) {
      await callSignedIn('VerifyEmail', { code: linkCode, ...values });
      await home(texts.verified);
    },
  });
}

/** Confirms another address, for which the person has asked in the session of this browser, or another of the account. */
export async function confirmEmail(): Promise<void> {
  await requireSignIn();
  showForm({
    title: texts.changeEmail,
    lead: linkCode === undefined ? texts.changeEmailLead : texts.changeEmailLinkLead,
    fields: linkCode === undefined ? [codeField()] : [],
    action: texts.confirm,
    ways: [TO_HOME],
    async submit(values) {
      await callSignedIn('ConfirmEmailChange', { code: linkCode, ...values });
      await home(texts.emailChanged);
    },
  });
}
