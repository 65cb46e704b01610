import './sign-in.css';
import { type Challenge, KithError, type SecondFactorCode, type Session } from '@kith/client/session';
import { explainError, explainViolation } from '@kith/client/error-texts';
import { errorTexts } from '../error-texts.ts';
import { settings } from '../settings.ts';
import { element } from './elements.ts';
import { texts } from './texts.ts';

export interface SignInOptions {
  readonly session: Session;
  /** Why the page shows again. */
  readonly notice: string | undefined;
  /** Why it is not known whether there is a session. */
  readonly error: KithError | undefined;
}

/** Thrown by a step that the person leaves. */
const LEFT = Symbol('left');

/** Shows the sign-in page until somebody has signed in. It uses no framework, to be there at once. */
export async function showSignIn({ session, notice, error }: SignInOptions): Promise<void> {
  document.title = `${texts.title} · Kith`;
  const card = element('main', { class: 'sign-in' });
  document.getElementById('root')!.replaceChildren(card);
  const known = notice === 'ended' || notice === 'signed-out' ? texts[notice] : undefined;
  let problem: KithError | undefined = error;
  let identifier = '';
  for (let first = true; ; first = false) {
    const entered = await askForPassword(card, { identifier, notice: first ? known : undefined, problem });
    identifier = entered.identifier;
    try {
      await session.signIn({
        ...entered,
        secondFactor: (challenge) => askForCode(card, challenge),
        newPassword: (challenge) => askForNewPassword(card, challenge),
      });
      return;
    } catch (thrown) {
      problem = thrown === LEFT ? undefined : KithError.from(thrown);
    }
  }
}

interface Field {
  readonly name: string;
  readonly label: string;
  readonly type?: 'password' | 'text';
  readonly value?: string;
  readonly autocomplete: AutoFill;
  readonly inputmode?: string;
  readonly minlength?: string;
}

interface Step {
  readonly title: string;
  readonly lead: string;
  readonly notice?: string | undefined;
  readonly problem: KithError | undefined;
  readonly fields: readonly Field[];
  readonly action: string;
  /** Says what is wrong with what was entered, before anything is sent. */
  readonly check?: (values: Readonly<Record<string, string>>) => string | undefined;
  /** Other ways on, below the button. */
  readonly links: readonly Way[];
}

/** Another way on: a step of this page, or another page. */
type Way = { readonly label: string } & ({ readonly onClick: () => void } | { readonly to: string });

/** What the account pages have for people who cannot sign in here. */
function accountLinks(): readonly Way[] {
  const { account, loginCodes, signUp } = settings;
  if (account === undefined) return [];
  return [
    { label: texts.forgotten, to: `${account}reset-password` },
    ...(loginCodes ? [{ label: texts.byCode, to: `${account}sign-in` }] : []),
    ...(signUp === 'open' ? [{ label: texts.signUp, to: `${account}sign-up` }] : []),
    ...(signUp === 'invitation' ? [{ label: texts.invited, to: `${account}accept-invitation` }] : []),
  ];
}

async function askForPassword(
  card: HTMLElement,
  { identifier, notice, problem }: { identifier: string; notice: string | undefined; problem: KithError | undefined },
): Promise<{ identifier: string; password: string }> {
  const values = await ask(card, {
    title: texts.title,
    lead: texts.lead,
    notice,
    problem,
    fields: [
      { name: 'identifier', label: texts.identifier, value: identifier, autocomplete: 'username' },
      { name: 'password', label: texts.password, type: 'password', autocomplete: 'current-password' },
    ],
    action: texts.signIn,
    links: accountLinks(),
  });
  return { identifier: values['identifier'] ?? '', password: values['password'] ?? '' };
}

async function askForCode(
  card: HTMLElement,
  { methods, error }: Challenge<'totpCode' | 'recoveryCode'>,
  method = methods[0] ?? 'totpCode',
): Promise<SecondFactorCode> {
  const other = methods.find((each) => each !== method);
  const switched = Promise.withResolvers<SecondFactorCode>();
  const back = startAgain(switched);
  const values = ask(card, {
    title: texts.secondTitle,
    lead: method === 'totpCode' ? texts.secondLead : texts.recoveryLead,
    problem: error,
    fields: [
      {
        name: 'code',
        label: texts[method],
        autocomplete: method === 'totpCode' ? 'one-time-code' : 'off',
        ...(method === 'totpCode' && { inputmode: 'numeric' }),
      },
    ],
    action: texts.proceed,
    links: [
      ...(other === undefined
        ? []
        : [
            {
              label: other === 'totpCode' ? texts.useTotp : texts.useRecovery,
              onClick: () => switched.resolve(askForCode(card, { methods, error: undefined }, other)),
            },
          ]),
      back,
    ],
  });
  return Promise.race([values.then(({ code = '' }) => toCode(method, code)), switched.promise]);
}

function toCode(method: 'totpCode' | 'recoveryCode', code: string): SecondFactorCode {
  return method === 'totpCode' ? { totpCode: code } : { recoveryCode: code };
}

async function askForNewPassword(card: HTMLElement, { error }: Challenge<'newPassword'>): Promise<string> {
  const left = Promise.withResolvers<string>();
  const values = ask(card, {
    title: texts.newTitle,
    lead: texts.newLead,
    problem: error,
    fields: [
      { name: 'password', label: texts.newPassword, type: 'password', autocomplete: 'new-password', minlength: '8' },
      { name: 'again', label: texts.repeatPassword, type: 'password', autocomplete: 'new-password', minlength: '8' },
    ],
    action: texts.proceed,
    check: ({ password, again }) => (password === again ? undefined : texts.differ),
    links: [startAgain(left)],
  });
  return Promise.race([values.then(({ password = '' }) => password), left.promise]);
}

function startAgain({ reject }: Pick<PromiseWithResolvers<unknown>, 'reject'>) {
  return { label: texts.back, onClick: () => reject(LEFT) };
}

/** Shows one step, and gives what was entered. */
function ask(card: HTMLElement, step: Step): Promise<Record<string, string>> {
  return new Promise((resolve) => {
    const alert = element('p', { class: 'alert', role: 'alert', hidden: true });
    const complain = (text: string) => {
      alert.textContent = text;
      alert.hidden = false;
    };
    const inputs = step.fields.map((field) => toInput(field));
    const button = element('button', { class: 'button primary', type: 'submit' }, step.action);
    const links = step.links.map((way) =>
      'to' in way
        ? element('a', { class: 'link', href: way.to }, way.label)
        : element('button', { class: 'link', type: 'button', click: way.onClick }, way.label),
    );
    const submit = (event: Event) => {
      event.preventDefault();
      if (button.disabled) return;
      const values = Object.fromEntries(inputs.map(({ input }) => [input.name, input.value]));
      const complaint = step.check?.(values);
      if (complaint !== undefined) return complain(complaint);
      button.disabled = true;
      card.setAttribute('aria-busy', 'true');
      resolve(values);
    };
    const form = element('form', { submit }, ...inputs.map(({ row }) => row), alert, button, ...links);
    card.removeAttribute('aria-busy');
    card.replaceChildren(
      element('p', { class: 'brand' }, element('img', { src: 'icon.svg', alt: '', width: '28', height: '28' }), 'Kith'),
      element('h1', {}, step.title),
      element('p', { class: 'lead' }, step.lead),
      ...(step.notice === undefined ? [] : [element('p', { class: 'notice', role: 'status' }, step.notice)]),
      form,
    );
    if (step.problem !== undefined) {
      complain(explain(step.problem));
      if (step.problem.retryAfter !== undefined) countDown(button, step.action, step.problem.retryAfter);
    }
    (inputs.find(({ input }) => input.value === '') ?? inputs[0])?.input.focus();
  });
}

function toInput(field: Field): { input: HTMLInputElement; row: HTMLElement } {
  const { name, label, type = 'text', value = '', autocomplete, inputmode, minlength } = field;
  const id = `field-${name}`;
  const input = element('input', {
    id,
    name,
    type,
    autocomplete,
    inputmode,
    minlength,
    value,
    required: true,
    autocapitalize: 'none',
    spellcheck: 'false',
  });
  const box = element('div', { class: 'input' }, input);
  if (type === 'password') {
    const toggle = element('button', { class: 'link', type: 'button', 'aria-pressed': 'false' }, texts.show);
    toggle.addEventListener('click', () => {
      const isShown = input.type === 'text';
      input.type = isShown ? 'password' : 'text';
      toggle.textContent = isShown ? texts.show : texts.hide;
      toggle.setAttribute('aria-pressed', String(!isShown));
    });
    return { input, row: element('div', { class: 'field' }, element('label', { for: id }, label), box, toggle) };
  }
  return { input, row: element('div', { class: 'field' }, element('label', { for: id }, label), box) };
}

function explain(error: KithError): string {
  const [violation] = error.violations;
  return violation === undefined ? explainError(error, errorTexts) : explainViolation(violation, errorTexts);
}

/** Shows how long to wait before the next attempt. */
function countDown(button: HTMLButtonElement, action: string, seconds: number): void {
  const endMs = performance.now() + seconds * 1000;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((endMs - performance.now()) / 1000);
    button.textContent = left > 0 ? texts.wait(left) : action;
    button.disabled = left > 0;
    if (left > 0 && button.isConnected) setTimeout(tick, 250);
  };
  tick();
}
