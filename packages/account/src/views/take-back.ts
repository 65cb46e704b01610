import { emailField, newPasswordField } from '../fields.ts';
import { showForm } from '../form.ts';
import { linkToken } from '../fragment.ts';
import { call } from '../rpc.ts';
import { texts } from '../texts.ts';
import { goOn, signInWith } from './sign-in.ts';

/** Takes an account back whose address was changed, with the token that the address before was mailed. */
export function takeBack(): void {
  const tokenField = { name: 'token', label: texts.takeBackToken, autocomplete: 'off' } as const;
  showForm({
    title: texts.takeBack,
    lead: texts.takeBackLead,
    fields: [
      ...(linkToken === undefined ? [tokenField] : []),
      // Asked for, so that who opens the link alone, such as a scanner that fills forms in, cannot set a password.
      { ...emailField(), hint: texts.takeBackEmailHint },
      newPasswordField(),
    ],
    action: texts.takeBackAction,
    ways: [{ label: texts.toSignIn, to: 'sign-in' }],
    async submit(values) {
      await call('TakeEmailBack', { token: linkToken, ...values });
      await signInWith(values['email'] ?? '', values['newPassword'] ?? '');
      goOn();
    },
  });
}
