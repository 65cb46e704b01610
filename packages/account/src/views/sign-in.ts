import { codeField, identifierField, newPasswordField, passwordField } from '../fields.ts';
import { showForm } from '../form.ts';
import { reopen } from '../fragment.ts';
import { call, Refusal } from '../rpc.ts';
import { type Challenge, signInStep, unknownStep } from '../session.ts';
import { settings } from '../settings.ts';
import { reasonText, texts } from '../texts.ts';

/** Leads to where people go on, or shows the account where there is no such place. */
export function goOn(): void {
  location.assign(settings.home ?? './');
}

interface Asking {
  readonly identifier?: string | undefined;
  readonly notice?: string | undefined;
}

/** Resolves once the person has signed in. */
export function askForPassword({ identifier, notice }: Asking): Promise<void> {
  return new Promise((resolve) => {
    const ask = () =>
      showForm({
        title: texts.signIn,
        notice,
        fields: [identifierField(identifier), passwordField()],
        action: texts.signIn,
        ways: [
          ...(settings.loginCodes ? [{ label: texts.useCode, to: () => askForMailedCode(resolve, ask) }] : []),
          { label: texts.forgotten, to: 'reset-password' },
          ...(settings.signUp === 'closed' ? [] : [{ label: texts.toSignUp, to: 'sign-up' }]),
        ],
        async submit(values) {
          await finish(await signInStep('Login', values));
          resolve();
        },
      });
    ask();
  });
}

/** Signs in with a code that is mailed, in place of the password: `signedIn` is called then. `back` asks for the password. */
function askForMailedCode(signedIn: () => void, back: () => void, identifier = ''): void {
  const usePassword = { label: texts.usePassword, to: back };
  showForm({
    title: texts.signIn,
    lead: texts.loginCodeLead,
    fields: [identifierField(identifier)],
    action: texts.sendCode,
    ways: [usePassword],
    async submit(asked) {
      // In the memory of this page alone: the code is of no use to whoever else reads the mail.
      const { clientToken } = await call<{ clientToken: string }>('RequestLoginCode', asked);
      const again = () => askForMailedCode(signedIn, back, asked['identifier']);
      showForm({
        title: texts.confirmTitle,
        notice: texts.loginCodeSent,
        fields: [codeField()],
        action: texts.signIn,
        ways: [{ label: texts.sendAnother, to: again }, usePassword],
        async submit(values) {
          await finish(await signInStep('LoginWithCode', { ...asked, ...values, clientToken }));
          signedIn();
        },
      });
    },
  });
}

/** Signs in with what is known, and asks for what else it takes. Resolves once the person has signed in. */
export async function signInWith(identifier: string, password: string): Promise<void> {
  let challenge: Challenge | undefined;
  try {
    challenge = await signInStep('Login', { identifier, password });
  } catch (thrown) {
    // What was done before is done: the person signs in by hand.
    return askForPassword({ identifier, notice: reasonText(thrown instanceof Refusal ? thrown.reason : '') });
  }
  await finish(challenge);
}

/** Takes the further steps of a sign-in. */
async function finish(first: Challenge | undefined): Promise<void> {
  for (let challenge = first; challenge !== undefined; ) {
    const { challengeToken, step } = challenge;
    const answer = async (message: object) => signInStep('CompleteLogin', { challengeToken, ...message });
    if (step === 'LOGIN_STEP_SECOND_FACTOR') challenge = await askForCode(challenge, answer);
    else if (step === 'LOGIN_STEP_NEW_PASSWORD') challenge = await askForNewPassword(answer);
    else unknownStep();
  }
}

const START_AGAIN = { label: texts.startAgain, to: reopen };

type Answer = (message: object) => Promise<Challenge | undefined>;

function askForCode({ methods }: Challenge, answer: Answer): Promise<Challenge | undefined> {
  return new Promise((resolve) => {
    const known = methods.filter((method) => method in CODES) as (keyof typeof CODES)[];
    const ask = (method: keyof typeof CODES) => {
      const other = known.find((each) => each !== method);
      const { lead, ...field } = CODES[method];
      showForm({
        title: texts.secondFactor,
        lead,
        fields: [field],
        action: texts.proceed,
        ways: [...(other === undefined ? [] : [{ label: CODES[other].use, to: () => ask(other) }]), START_AGAIN],
        async submit(values) {
          resolve(await answer(values));
        },
      });
    };
    ask(known[0] ?? unknownStep());
  });
}

/** The codes of a second factor, by the methods of the contract. */
const CODES = {
  LOGIN_METHOD_TOTP_CODE: {
    name: 'totpCode',
    label: texts.totpCode,
    lead: texts.totpLead,
    use: texts.useTotp,
    autocomplete: 'one-time-code',
    inputmode: 'numeric',
  },
  LOGIN_METHOD_RECOVERY_CODE: {
    name: 'recoveryCode',
    label: texts.recoveryCode,
    lead: texts.recoveryLead,
    use: texts.useRecovery,
    autocomplete: 'off',
  },
} as const;

function askForNewPassword(answer: Answer): Promise<Challenge | undefined> {
  return new Promise((resolve) => {
    showForm({
      title: texts.choosePassword,
      lead: texts.mustChange,
      fields: [newPasswordField()],
      action: texts.proceed,
      ways: [START_AGAIN],
      async submit(values) {
        resolve(await answer(values));
      },
    });
  });
}
