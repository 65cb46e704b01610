import type { Field } from './form.ts';
import { texts } from './texts.ts';

/** The fields that several forms have. */

export function identifierField(value = ''): Field {
  return { name: 'identifier', label: texts.identifier, value, autocomplete: 'username' };
}

export function emailField(value = ''): Field {
  return { name: 'email', label: texts.email, type: 'email', value, autocomplete: 'email', check: emailRule };
}

function emailRule(value: string): string | undefined {
  return /^\s*\S+@\S+\s*$/.test(value) ? undefined : 'string.email';
}

export function passwordField(): Field {
  return { name: 'password', label: texts.password, type: 'password', autocomplete: 'current-password' };
}

/** `name`: that of the field in the request. */
export function newPasswordField(name: 'newPassword' | 'password' = 'newPassword'): Field {
  return {
    name,
    label: name === 'password' ? texts.password : texts.newPassword,
    hint: texts.passwordHint,
    type: 'password',
    autocomplete: 'new-password',
    check: (value) => (Array.from(value).length < 8 ? 'password.min_len' : undefined),
  };
}

/** The code of a mail. */
export function codeField(): Field {
  return {
    name: 'code',
    label: texts.mailedCode,
    hint: texts.mailedCodeHint,
    autocomplete: 'one-time-code',
    inputmode: 'numeric',
    check: (value) => (/^\d{8}$/.test(value.replaceAll(/[\s-]/g, '')) ? undefined : 'code.digits'),
  };
}
