import { language, settings } from './settings.ts';

const { service } = settings;

const EN = {
  otherLanguage: 'Deutsch',
  identifier: 'Username or email',
  email: 'Email address',
  password: 'Password',
  newPassword: 'New password',
  currentPassword: 'Current password',
  passwordHint: 'At least 8 characters.',
  mailedCode: 'Code',
  mailedCodeHint: 'The eight digits in the email. They are good for 10 minutes.',
  show: 'Show password',
  hide: 'Hide password',
  proceed: 'Continue',
  wait: (seconds: number) => `Try again in ${seconds} s`,

  signIn: 'Sign in',
  useCode: 'Sign in with a code by email',
  usePassword: 'Sign in with your password',
  loginCodeLead: 'We send a code to your email address, if it is confirmed.',
  loginCodeSent:
    'If you can sign in so, we have sent an email with a code. Enter it here: it works in this window alone.',
  signInFirst: 'Please sign in first.',
  signInAgain: 'Please sign in again to confirm that it is you.',
  forgotten: 'Forgotten your password?',
  toSignUp: 'Create an account',
  toSignIn: 'Sign in',
  secondFactor: 'Second factor',
  totpLead: 'Enter the six digits that your authenticator app shows.',
  totpCode: 'Code',
  useRecovery: 'Use a recovery code instead',
  recoveryLead: 'Enter one of the recovery codes that you have kept. Each works once.',
  recoveryCode: 'Recovery code',
  useTotp: 'Use the authenticator app instead',
  startAgain: 'Start again',
  choosePassword: 'Choose a new password',
  mustChange: 'Your password has to be changed before you go on.',

  signUp: 'Create an account',
  signUpLead: 'We send a code to your email address.',
  signUpClosed: 'Nobody can create an account here at the moment.',
  signUpInvited: 'You need an invitation. Enter the email address that it was sent to, and we send a code there.',
  sendCode: 'Send code',
  confirmTitle: 'Enter the code',
  codeSent: (email: string) => `We have sent an email to ${email}, if it can sign up here.`,
  confirmLead: 'Enter the code from the email, and how you want to sign in.',
  confirmLinkLead: 'Enter the email address that the email was sent to, and how you want to sign in.',
  username: 'Username',
  usernameHint: 'Letters, digits, dots, hyphens and underscores.',
  name: 'Your name',
  sendAnother: 'Ask for another code',

  reset: 'Forgotten password',
  resetLead: 'We send a code to your email address, with which you set another password.',
  resetSent: 'If there is such an account, we have sent an email with a code to its address.',
  resetSecondLead: 'All other sign-ins end when you set it.',
  setPassword: 'Set password',

  verify: 'Confirm your email address',
  verifyLead: (email: string) => `Is ${email} yours? Enter the code from the email.`,
  verifyLinkLead: (email: string) => `Confirm that ${email} is yours.`,
  verifySend: 'Send a code',
  verifySendLead: (email: string) => `We send a code to ${email}.`,
  verifySent: 'The email is on its way.',
  haveCode: 'I have a code',
  confirm: 'Confirm',
  verified: 'Your email address is confirmed.',
  changeEmail: 'Confirm your new email address',
  changeEmailLead: 'Enter the code from the email to the new address. It becomes the address of your account.',
  changeEmailLinkLead: 'It becomes the address of your account.',
  emailChanged: 'Your email address is changed.',

  takeBack: 'Take your account back',
  takeBackLead:
    'Somebody has changed the email address of your account, and it was not you? Your account gets your address again, and the password that you choose. All sign-ins end.',
  takeBackEmailHint: 'The one that the email was sent to.',
  takeBackToken: 'Key from the email',
  takeBackAction: 'Take back',

  changePassword: 'Change password',
  passwordChanged: 'Your password is changed. All other sign-ins have ended.',

  home: 'Your account',
  homeLead: (name: string) => `You are signed in as ${name}.`,
  unverified: (email: string) => `${email} is not confirmed yet.`,
  goOn: `Continue to ${service}`,
  signOut: 'Sign out',
  signedOut: 'You are signed out.',
  unknown: 'There is no such page',
  failed: 'That did not work',
  again: 'Try again',
};

const DE: typeof EN = {
  otherLanguage: 'English',
  identifier: 'Benutzername oder E-Mail',
  email: 'E-Mail-Adresse',
  password: 'Passwort',
  newPassword: 'Neues Passwort',
  currentPassword: 'Aktuelles Passwort',
  passwordHint: 'Mindestens 8 Zeichen.',
  mailedCode: 'Code',
  mailedCodeHint: 'Die acht Ziffern aus der E-Mail. Sie gelten 10 Minuten.',
  show: 'Passwort zeigen',
  hide: 'Passwort verbergen',
  proceed: 'Weiter',
  wait: (seconds) => `Noch ${seconds} s warten`,

  signIn: 'Anmelden',
  useCode: 'Mit einem Code per E-Mail anmelden',
  usePassword: 'Mit dem Passwort anmelden',
  loginCodeLead: 'Wir senden einen Code an Ihre E-Mail-Adresse, wenn sie bestätigt ist.',
  loginCodeSent:
    'Wenn Sie sich so anmelden können, haben wir eine E-Mail mit einem Code gesendet. Geben Sie ihn hier ein: Er gilt nur in diesem Fenster.',
  signInFirst: 'Bitte melden Sie sich zuerst an.',
  signInAgain: 'Bitte melden Sie sich zur Bestätigung noch einmal an.',
  forgotten: 'Passwort vergessen?',
  toSignUp: 'Konto anlegen',
  toSignIn: 'Anmelden',
  secondFactor: 'Zweiter Faktor',
  totpLead: 'Geben Sie die sechs Ziffern ein, die Ihre Authenticator-App zeigt.',
  totpCode: 'Code',
  useRecovery: 'Stattdessen einen Wiederherstellungscode verwenden',
  recoveryLead: 'Geben Sie einen der Wiederherstellungscodes ein, die Sie aufbewahrt haben. Jeder gilt einmal.',
  recoveryCode: 'Wiederherstellungscode',
  useTotp: 'Stattdessen die Authenticator-App verwenden',
  startAgain: 'Von vorn beginnen',
  choosePassword: 'Neues Passwort wählen',
  mustChange: 'Ihr Passwort muss geändert werden, bevor es weitergeht.',

  signUp: 'Konto anlegen',
  signUpLead: 'Wir senden einen Code an Ihre E-Mail-Adresse.',
  signUpClosed: 'Hier kann zurzeit niemand ein Konto anlegen.',
  signUpInvited:
    'Sie brauchen eine Einladung. Geben Sie die E-Mail-Adresse ein, an die sie ging; dorthin senden wir einen Code.',
  sendCode: 'Code senden',
  confirmTitle: 'Code eingeben',
  codeSent: (email) => `Wir haben eine E-Mail an ${email} gesendet, falls man sich damit hier registrieren kann.`,
  confirmLead: 'Geben Sie den Code aus der E-Mail ein, und wie Sie sich anmelden wollen.',
  confirmLinkLead: 'Geben Sie die Adresse ein, an die die E-Mail ging, und wie Sie sich anmelden wollen.',
  username: 'Benutzername',
  usernameHint: 'Buchstaben, Ziffern, Punkte, Binde- und Unterstriche.',
  name: 'Ihr Name',
  sendAnother: 'Einen anderen Code anfordern',

  reset: 'Passwort vergessen',
  resetLead: 'Wir senden einen Code an Ihre E-Mail-Adresse, mit dem Sie ein anderes Passwort setzen.',
  resetSent: 'Wenn es ein solches Konto gibt, haben wir eine E-Mail mit einem Code an seine Adresse gesendet.',
  resetSecondLead: 'Alle anderen Anmeldungen enden, wenn Sie es setzen.',
  setPassword: 'Passwort setzen',

  verify: 'E-Mail-Adresse bestätigen',
  verifyLead: (email) => `Gehört ${email} Ihnen? Geben Sie den Code aus der E-Mail ein.`,
  verifyLinkLead: (email) => `Bestätigen Sie, dass ${email} Ihnen gehört.`,
  verifySend: 'Code senden',
  verifySendLead: (email) => `Wir senden einen Code an ${email}.`,
  verifySent: 'Die E-Mail ist unterwegs.',
  haveCode: 'Ich habe einen Code',
  confirm: 'Bestätigen',
  verified: 'Ihre E-Mail-Adresse ist bestätigt.',
  changeEmail: 'Neue E-Mail-Adresse bestätigen',
  changeEmailLead: 'Geben Sie den Code aus der E-Mail an die neue Adresse ein. Sie wird die Adresse Ihres Kontos.',
  changeEmailLinkLead: 'Sie wird die Adresse Ihres Kontos.',
  emailChanged: 'Ihre E-Mail-Adresse ist geändert.',

  takeBack: 'Ihr Konto zurückholen',
  takeBackLead:
    'Jemand hat die E-Mail-Adresse Ihres Kontos geändert, und Sie waren es nicht? Ihr Konto bekommt wieder Ihre Adresse und das Passwort, das Sie wählen. Alle Anmeldungen enden.',
  takeBackEmailHint: 'Die, an die die E-Mail ging.',
  takeBackToken: 'Schlüssel aus der E-Mail',
  takeBackAction: 'Zurückholen',

  changePassword: 'Passwort ändern',
  passwordChanged: 'Ihr Passwort ist geändert. Alle anderen Anmeldungen sind beendet.',

  home: 'Ihr Konto',
  homeLead: (name) => `Sie sind angemeldet als ${name}.`,
  unverified: (email) => `${email} ist noch nicht bestätigt.`,
  goOn: `Weiter zu ${service}`,
  signOut: 'Abmelden',
  signedOut: 'Sie sind abgemeldet.',
  unknown: 'Diese Seite gibt es nicht',
  failed: 'Das hat nicht geklappt',
  again: 'Noch einmal versuchen',
};

export const texts = language === 'de' ? DE : EN;

/** What to tell people of a refusal, by its reason: those that these pages can cause. */
const REASONS: Record<string, readonly [en: string, de: string]> = {
  FIELDS_INVALID: ['Please check what you have entered.', 'Bitte prüfen Sie Ihre Eingaben.'],
  UNREACHABLE: [
    'The server cannot be reached at the moment. Please try again soon.',
    'Der Server ist gerade nicht erreichbar. Bitte versuchen Sie es gleich noch einmal.',
  ],
  SERVER_BUSY: [
    'The server is busy. Please try again soon.',
    'Der Server ist ausgelastet. Bitte versuchen Sie es gleich noch einmal.',
  ],
  CREDENTIALS_INVALID: [
    'The name or the password is wrong. After several attempts, wait some minutes.',
    'Name oder Passwort ist falsch. Warten Sie nach mehreren Versuchen einige Minuten.',
  ],
  TOO_MANY_ATTEMPTS: [
    'There were too many attempts. Please try again later.',
    'Das waren zu viele Versuche. Bitte versuchen Sie es später noch einmal.',
  ],
  CHALLENGE_INVALID: [
    'The sign-in took too long or has changed. Please start again.',
    'Die Anmeldung hat zu lange gedauert oder gilt nicht mehr. Bitte beginnen Sie von vorn.',
  ],
  CHALLENGE_STEP_WRONG: [
    'The sign-in asks for a step that this page does not know.',
    'Die Anmeldung verlangt einen Schritt, den diese Seite nicht kennt.',
  ],
  SECOND_FACTOR_WRONG: [
    'The code is wrong. After several attempts, wait some minutes.',
    'Der Code ist falsch. Warten Sie nach mehreren Versuchen einige Minuten.',
  ],
  MAILED_CODE_INVALID: [
    'The code or the address is wrong, or the code has expired. Ask for another one.',
    'Der Code oder die Adresse ist falsch, oder der Code ist abgelaufen. Fordern Sie einen neuen an.',
  ],
  USERNAME_TAKEN: ['This username is taken.', 'Dieser Benutzername ist vergeben.'],
  EMAIL_TAKEN: ['Another account has this email address.', 'Ein anderes Konto hat diese E-Mail-Adresse.'],
  PASSWORD_WRONG: ['The current password is wrong.', 'Das aktuelle Passwort ist falsch.'],
  PASSWORD_IS_IDENTIFIER: [
    'The password must not be the username or the email address.',
    'Das Passwort darf nicht der Benutzername oder die E-Mail-Adresse sein.',
  ],
  PASSWORD_TOO_COMMON: [
    'This password is too easy to guess. Please choose another.',
    'Dieses Passwort ist zu leicht zu erraten. Bitte wählen Sie ein anderes.',
  ],
  PASSWORD_UNCHANGED: ['The new password must not be the old one.', 'Das neue Passwort darf nicht das alte sein.'],
  SIGN_UP_CLOSED: [EN.signUpClosed, DE.signUpClosed],
  SIGN_UP_DOMAIN_NOT_ALLOWED: [
    'Please use another email address: those of this domain cannot sign up here.',
    'Bitte nehmen Sie eine andere E-Mail-Adresse: Mit denen dieser Domain kann man sich hier nicht registrieren.',
  ],
};

const FAILED = [
  'That did not work. Please try again.',
  'Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.',
] as const;

/** What breaks a rule, by the rule: those of the contract, and those that the pages check themselves. */
const RULES: Record<string, readonly [en: string, de: string]> = {
  required: ['Please fill this in.', 'Bitte füllen Sie das aus.'],
  'string.min_len': ['This is too short.', 'Das ist zu kurz.'],
  'string.max_len': ['This is too long.', 'Das ist zu lang.'],
  'string.email': ['This is not an email address.', 'Das ist keine E-Mail-Adresse.'],
  'string.totp_code': ['The code has six digits.', 'Der Code hat sechs Ziffern.'],
  'string.username': [
    'Use 3 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit at both ends.',
    'Verwenden Sie 3 bis 64 Buchstaben, Ziffern, Punkte, Binde- und Unterstriche, mit Buchstabe oder Ziffer an beiden Enden.',
  ],
  'password.min_len': ['Use at least 8 characters.', 'Verwenden Sie mindestens 8 Zeichen.'],
  'code.digits': ['The code has eight digits.', 'Der Code hat acht Ziffern.'],
};

const INVALID = ['This is not valid.', 'Das ist nicht gültig.'] as const;

export function reasonText(reason: string): string {
  return (REASONS[reason] ?? FAILED)[language === 'de' ? 1 : 0];
}

export function ruleText(rule: string): string {
  return (RULES[rule] ?? INVALID)[language === 'de' ? 1 : 0];
}
