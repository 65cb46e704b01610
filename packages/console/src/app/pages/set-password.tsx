import { UserService } from '@kith/client/users';
import { useState } from 'react';
import { useService } from '../context.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Checkbox, Field, Form } from '../parts/form.tsx';
import { useFreshSignIn } from '../parts/fresh-sign-in.tsx';
import { notify } from '../parts/toasts.tsx';
import { userTexts } from '../user-texts.ts';
import type { EditProps } from './edit-user.tsx';

export default function SetPassword({ user, onSaved, onClose }: EditProps) {
  const users = useService(UserService, 'User');
  const [password, setPassword] = useState('');
  const [mustChangePassword, setMustChange] = useState(true);
  const fresh = useFreshSignIn();
  const save = async () => {
    try {
      onSaved((await users.setPassword({ userId: user.id, password, mustChangePassword })).user);
      onClose();
      notify(userTexts.passwordSet);
    } catch (thrown) {
      if (!fresh.handle(thrown)) throw thrown;
    }
  };
  return (
    <Dialog title={userTexts.setPassword} onClose={onClose}>
      <Form action={userTexts.setPassword} onSubmit={save} onCancel={onClose}>
        {(errors) => (
          <>
            <Field
              label={userTexts.newPassword}
              type="password"
              autoComplete="new-password"
              hint={userTexts.passwordHint}
              error={errors.get('password')}
              value={password}
              onChange={setPassword}
            />
            <Checkbox label={userTexts.mustChange} checked={mustChangePassword} onChange={setMustChange} />
          </>
        )}
      </Form>
      {fresh.dialog}
    </Dialog>
  );
}
