import { askedFor, forgetAsked, rememberAsked } from '../asked.ts';
import { codeField, identifierField, newPasswordField } from '../fields.ts';
import { showForm } from '../form.ts';
import { linkCode } from '../fragment.ts';
import { call } from '../rpc.ts';
import { texts } from '../texts.ts';
import { goOn, signInWith } from './sign-in.ts';

/** Has a code mailed, and sets a password with it. The link in the mail leads to the second step. */
export function resetPassword(): void {
  if (linkCode === undefined) askForCode();
  else setPassword({ identifier: askedFor('reset-password') });
}

function askForCode(identifier = ''): void {
  showForm({
    title: texts.reset,
    lead: texts.resetLead,
    fields: [identifierField(identifier)],
    action: texts.sendCode,
    ways: [{ label: texts.toSignIn, to: 'sign-in' }],
    async submit(values) {
      await call('RequestPasswordReset', values);
      const { identifier: asked = '' } = values;
      rememberAsked('reset-password', asked);
      setPassword({ identifier: asked, notice: texts.resetSent });
    },
  });
}

function setPassword({ identifier, notice }: { readonly identifier: string; readonly notice?: string }): void {
  showForm({
    title: texts.choosePassword,
    notice,
    lead: texts.resetSecondLead,
    fields: [identifierField(identifier), ...(linkCode === undefined ? [codeField()] : []), newPasswordField()],
    action: texts.setPassword,
    // Sends nothing by itself: a scanner that clicks on it would make the code void that the person has.
    ways: [linkCode === undefined ? { label: texts.sendAnother, to: () => askForCode(identifier) } : ANOTHER],
    async submit(values) {
      await call('ResetPassword', { code: linkCode, ...values });
      forgetAsked('reset-password');
      await signInWith(values['identifier'] ?? '', values['newPassword'] ?? '');
      goOn();
    },
  });
}

const ANOTHER = { label: texts.sendAnother, to: 'reset-password' };
