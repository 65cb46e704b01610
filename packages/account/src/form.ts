import { setBusy, showStep, type Way } from './card.ts';
import { element } from './elements.ts';
import { Refusal } from './rpc.ts';
import { reasonText, ruleText, texts } from './texts.ts';

export interface Field {
  /** That of the field in the request. */
  readonly name: string;
  readonly label: string;
  readonly hint?: string | undefined;
  readonly type?: 'text' | 'email' | 'password';
  readonly value?: string | undefined;
  readonly autocomplete: AutoFill;
  readonly inputmode?: 'numeric';
  /** The rule of the contract that a value breaks, before anything is sent; undefined for none. */
  readonly check?: (value: string) => string | undefined;
}

export type Values = Readonly<Record<string, string>>;

export interface Form {
  readonly title: string;
  readonly lead?: string | undefined;
  readonly notice?: string | undefined;
  readonly fields: readonly Field[];
  readonly action: string;
  readonly ways: readonly Way[];
  /** Does what the form is for. What is refused is shown, and the form can be sent again. */
  readonly submit: (values: Values) => Promise<void>;
}

/** The fields that a refusal is about. */
const FIELDS_OF: Readonly<Record<string, readonly string[]>> = {
  USERNAME_TAKEN: ['username'],
  EMAIL_TAKEN: ['email'],
  SIGN_UP_DOMAIN_NOT_ALLOWED: ['email'],
  MAILED_CODE_INVALID: ['code'],
  SECOND_FACTOR_WRONG: ['totpCode', 'recoveryCode'],
  PASSWORD_WRONG: ['currentPassword'],
  PASSWORD_TOO_COMMON: ['newPassword', 'password'],
  PASSWORD_IS_IDENTIFIER: ['newPassword', 'password'],
  PASSWORD_UNCHANGED: ['newPassword', 'password'],
};

/** Shows a form, and sends it as often as it takes. */
export function showForm({ title, lead, notice, fields, action, ways, submit }: Form): void {
  const alert = element('p', { class: 'alert', role: 'alert', hidden: true });
  const rows = new Map(fields.map((field) => [field.name, new Row(field)]));
  const button = element('button', { class: 'button primary', type: 'submit' }, action);

  const complain = (refusal: Refusal) => {
    const broken = new Map([...refusal.rules].map(([name, rule]) => [name, ruleText(rule)]));
    for (const name of FIELDS_OF[refusal.reason] ?? []) broken.set(name, reasonText(refusal.reason));
    const named = [...broken].filter(([name]) => rows.has(name));
    for (const [name, text] of named) rows.get(name)?.complain(text);
    // Where no field of the form is at fault, the form as a whole says so.
    alert.hidden = named.length > 0;
    alert.textContent = named.length > 0 ? '' : reasonText(refusal.reason);
    const first = [...rows.values()].find((row) => row.isBroken);
    (first?.input ?? button).focus();
    if (refusal.retryAfterS !== undefined) countDown(button, action, refusal.retryAfterS);
  };
  const send = async () => {
    if (button.getAttribute('aria-disabled') === 'true') return;
    alert.hidden = true;
    for (const row of rows.values()) row.complain(undefined);
    const checked = [...rows].flatMap(([name, row]): [string, string][] => {
      const rule = row.brokenRule();
      return rule === undefined ? [] : [[name, rule]];
    });
    if (checked.length > 0) return complain(new Refusal('FIELDS_INVALID', new Map(checked)));
    setBusy(true);
    button.setAttribute('aria-disabled', 'true');
    try {
      await submit(Object.fromEntries([...rows].map(([name, { input }]) => [name, input.value])));
    } catch (thrown) {
      if (!button.isConnected) throw thrown;
      button.removeAttribute('aria-disabled');
      setBusy(false);
      complain(thrown instanceof Refusal ? thrown : new Refusal('INTERNAL'));
    }
  };
  const form = element(
    'form',
    {
      novalidate: true, // what is wrong stands beside the field
      submit(event) {
        event.preventDefault();
        void send();
      },
    },
    ...[...rows.values()].map((row) => row.element),
    alert,
    button,
  );
  showStep({ title, lead, notice, content: [form], ways });
  const inputs = [...rows.values()].map((row) => row.input);
  (inputs.find(({ value }) => value === '') ?? button).focus();
}

/** A field with its label, its hint and what is wrong with it. */
class Row {
  readonly element: HTMLElement;
  readonly input: HTMLInputElement;
  readonly #error: HTMLElement;
  readonly #field: Field;

  constructor(field: Field) {
    const { name, label, hint, type = 'text', value = '', autocomplete, inputmode } = field;
    const [id, hintId, errorId] = [`field-${name}`, `hint-${name}`, `error-${name}`];
    this.#field = field;
    this.#error = element('p', { class: 'error', id: errorId, hidden: true });
    this.input = element('input', {
      id,
      name,
      type,
      autocomplete,
      inputmode,
      value,
      'aria-required': 'true',
      'aria-describedby': hint === undefined ? errorId : `${errorId} ${hintId}`,
      autocapitalize: 'none',
      spellcheck: 'false',
    });
    this.element = element(
      'div',
      { class: 'field' },
      element('label', { for: id }, label),
      this.input,
      this.#error,
      hint === undefined ? undefined : element('p', { class: 'hint', id: hintId }, hint),
      type === 'password' ? this.#toggle() : undefined,
    );
  }

  get isBroken(): boolean {
    return !this.#error.hidden;
  }

  brokenRule(): string | undefined {
    const { value } = this.input;
    return value.trim() === '' ? 'required' : this.#field.check?.(value);
  }

  /** Shows what is wrong; undefined for nothing. */
  complain(text: string | undefined): void {
    this.#error.hidden = text === undefined;
    this.#error.textContent = text ?? '';
    if (text === undefined) this.input.removeAttribute('aria-invalid');
    else this.input.setAttribute('aria-invalid', 'true');
  }

  #toggle(): HTMLElement {
    const toggle = element('button', { class: 'link', type: 'button' }, texts.show);
    toggle.addEventListener('click', () => {
      const isShown = this.input.type === 'text';
      this.input.type = isShown ? 'password' : 'text';
      toggle.textContent = isShown ? texts.show : texts.hide;
    });
    return toggle;
  }
}

/** Shows how long to wait before the next attempt. */
function countDown(button: HTMLButtonElement, action: string, seconds: number): void {
  const endMs = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((endMs - performance.now()) / 1000);
    button.textContent = left > 0 ? texts.wait(left) : action;
    // Not `disabled`, which would take the focus away.
    if (left > 0) button.setAttribute('aria-disabled', 'true');
    else button.removeAttribute('aria-disabled');
    if (left > 0 && button.isConnected) setTimeout(tick, 250);
  };
  tick();
}
