import { type User, UserService } from '@kith/client/users';
import { useState } from 'react';
import { useService } from '../context.tsx';
import { formatJson, mergePatch, parseObject } from '../merge-patch.ts';
import { AsCode } from '../parts/as-code.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Form, TextArea } from '../parts/form.tsx';
import { notify } from '../parts/toasts.tsx';
import { userTexts } from '../user-texts.ts';
import { t } from '../texts.ts';
import type { EditProps } from './edit-user.tsx';

const FIELDS = ['publicMetadata', 'privateMetadata'] as const;
type FieldName = (typeof FIELDS)[number];

/** Changes members of the metadata: what others have changed meanwhile in other members stays. */
export default function EditMetadata({ user, onSaved, onClose }: EditProps) {
  const users = useService(UserService, 'User');
  const [entered, setEntered] = useState<Readonly<Record<FieldName, string>>>({
    publicMetadata: formatJson(user.publicMetadata),
    privateMetadata: formatJson(user.privateMetadata),
  });
  const [unread, setUnread] = useState<ReadonlyMap<FieldName, string>>(new Map());
  const request = () => ({ userId: user.id, ...patchesOf(user, entered) });
  const save = async () => {
    const problems = FIELDS.flatMap((field) => {
      const problem = problemOf(entered[field]);
      return problem === undefined ? [] : [[field, problem] as const];
    });
    setUnread(new Map(problems));
    if (problems.length > 0) return;
    const { user: saved } = await users.update(request());
    onSaved(saved);
    onClose();
    notify(userTexts.userSaved(saved.name));
  };
  return (
    <Dialog title={userTexts.metadata} onClose={onClose} isWide>
      <p className="muted">{userTexts.metadataLead}</p>
      <Form
        action={t.save}
        onSubmit={save}
        onCancel={onClose}
        aside={
          FIELDS.every((field) => problemOf(entered[field]) === undefined) && (
            <AsCode call={() => ({ method: 'kith.user.v1.UserService/UpdateUser', body: request() })} />
          )
        }
      >
        {(errors) =>
          FIELDS.map((field) => (
            <TextArea
              key={field}
              label={userTexts[field]}
              hint={field === 'publicMetadata' ? userTexts.publicMetadataHint : userTexts.privateMetadataHint}
              className="json"
              rows={7}
              spellCheck={false}
              error={unread.get(field) ?? errors.get(field) ?? errors.get(snakeCase(field))}
              value={entered[field]}
              onChange={(value) => setEntered((before) => ({ ...before, [field]: value }))}
            />
          ))
        }
      </Form>
    </Dialog>
  );
}

function patchesOf(user: User, entered: Readonly<Record<FieldName, string>>): Partial<Record<FieldName, string>> {
  const patches = FIELDS.flatMap((field) => {
    const patch = mergePatch(parseObject(user[field]), parseObject(entered[field]));
    return patch === undefined ? [] : [[field, JSON.stringify(patch)]];
  });
  return Object.fromEntries(patches) as Partial<Record<FieldName, string>>;
}

/** What is wrong with a text that is to be an object of JSON, and where as far as the browser tells. */
function problemOf(text: string): string | undefined {
  try {
    parseObject(text);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    const at = /position (\d+)/.exec(thrown.message)?.[1];
    return at === undefined
      ? userTexts.jsonWrong
      : `${userTexts.jsonWrong} ${userTexts.atLine(text.slice(0, Number(at)).split('\n').length)}`;
  }
}

/** Refusals name fields as the contract does. */
const snakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
