import './account.css';
import { openCard, showStep } from './card.ts';
import { Refusal } from './rpc.ts';
import { reasonText, texts } from './texts.ts';
import { changePassword } from './views/change-password.ts';
import { home, signInPage } from './views/home.ts';
import { resetPassword } from './views/reset-password.ts';
import { signUp } from './views/sign-up.ts';
import { takeBack } from './views/take-back.ts';
import { confirmEmail, verifyEmail } from './views/verify-email.ts';

/** The pages by their paths, which links in mails have (src/mail/templates/kinds.ts). */
const VIEWS: Readonly<Record<string, () => void | Promise<void>>> = {
  '': () => home(),
  'sign-in': signInPage,
  'sign-up': signUp,
  'accept-invitation': signUp,
  'reset-password': resetPassword,
  'verify-email': verifyEmail,
  'confirm-email': confirmEmail,
  'take-back': takeBack,
  'change-password': changePassword,
};

openCard();
try {
  const path = location.pathname.slice(new URL(document.baseURI).pathname.length).replace(/\/$/, '');
  await (VIEWS[path] ?? showUnknown)();
} catch (thrown) {
  showFailure(thrown);
}

function showUnknown(): void {
  showStep({ title: texts.unknown, content: [], ways: [{ label: texts.home, to: './' }] });
}

function showFailure(thrown: unknown): void {
  showStep({
    title: texts.failed,
    lead: reasonText(thrown instanceof Refusal ? thrown.reason : 'INTERNAL'),
    content: [],
    ways: [{ label: texts.again, to: () => location.reload() }],
  });
}
