import { newPasswordField } from '../fields.ts';
import { showForm } from '../form.ts';
import { Refusal } from '../rpc.ts';
import { texts } from '../texts.ts';
import { home } from './home.ts';
import { callSignedIn, readMe, requireSignIn } from './me.ts';
import { askForPassword } from './sign-in.ts';

export async function changePassword(): Promise<void> {
  await requireSignIn();
  const { username } = await readMe();
  showForm({
    title: texts.changePassword,
    fields: [
      {
        name: 'currentPassword',
        label: texts.currentPassword,
        type: 'password',
        autocomplete: 'current-password',
      },
      newPasswordField(),
    ],
    action: texts.changePassword,
    ways: [{ label: texts.home, to: './' }],
    async submit(values) {
      try {
        await callSignedIn('ChangePassword', values);
      } catch (thrown) {
        if (!(thrown instanceof Refusal) || thrown.reason !== 'FRESH_SIGN_IN_REQUIRED') throw thrown;
        await askForPassword({ identifier: username, notice: texts.signInAgain });
        return changePassword();
      }
      await home(texts.passwordChanged);
    },
  });
}
