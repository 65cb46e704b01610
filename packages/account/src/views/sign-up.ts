import { askedFor, forgetAsked, rememberAsked } from '../asked.ts';
import { showStep } from '../card.ts';
import { codeField, emailField, newPasswordField } from '../fields.ts';
import { showForm } from '../form.ts';
import { linkCode } from '../fragment.ts';
import { call } from '../rpc.ts';
import { settings } from '../settings.ts';
import { texts } from '../texts.ts';
import { goOn, signInWith } from './sign-in.ts';

const TO_SIGN_IN = { label: texts.toSignIn, to: 'sign-in' };

/**
 * Has a code mailed to an address, and makes an account with it. Who is invited does the same: the mail of an invitation
 * leads here, and has neither a code nor the address, so that who opens it alone can do nothing.
 */
export function signUp(): void {
  if (settings.signUp === 'closed') {
    showStep({ title: texts.signUp, lead: texts.signUpClosed, content: [], ways: [TO_SIGN_IN] });
  } else if (linkCode === undefined) askForCode();
  else confirm({ email: askedFor('sign-up') });
}

function askForCode(email = ''): void {
  showForm({
    title: texts.signUp,
    lead: settings.signUp === 'invitation' ? texts.signUpInvited : texts.signUpLead,
    fields: [emailField(email)],
    action: texts.sendCode,
    ways: [TO_SIGN_IN],
    async submit(values) {
      await call('SignUp', values);
      const { email: asked = '' } = values;
      rememberAsked('sign-up', asked);
      confirm({ email: asked, notice: texts.codeSent(asked) });
    },
  });
}

function confirm({ email, notice }: { readonly email: string; readonly notice?: string }): void {
  showForm({
    title: linkCode === undefined ? texts.confirmTitle : texts.signUp,
    notice,
    lead: linkCode === undefined ? texts.confirmLead : texts.confirmLinkLead,
    fields: [
      emailField(email),
      ...(linkCode === undefined ? [codeField()] : []),
      { name: 'name', label: texts.name, autocomplete: 'name' },
      { name: 'username', label: texts.username, hint: texts.usernameHint, autocomplete: 'username' },
      newPasswordField('password'),
    ],
    action: texts.signUp,
    // Sends nothing by itself: a scanner that clicks on it would make the code void that the person has.
    ways: [
      linkCode === undefined
        ? { label: texts.sendAnother, to: () => askForCode(email) }
        : { label: texts.sendAnother, to: 'sign-up' },
    ],
    async submit(values) {
      await call('ConfirmSignUp', { code: linkCode, ...values });
      forgetAsked('sign-up');
      await signInWith(values['email'] ?? '', values['password'] ?? '');
      goOn();
    },
  });
}
