/** What is said on the page of one's own account. */
export const ACCOUNT_TEXTS = {
  changePassword: 'Change password',
  currentPassword: 'Current password',
  passwordChanged: 'Your password is changed, and your other sessions are ended.',
  totpOn: 'An authenticator app is asked for at each sign-in.',
  totpOff: 'Only your password is asked for. An authenticator app keeps others out who know it.',
  codesLeft: (count: number) => `${count} recovery ${count === 1 ? 'code' : 'codes'} left`,
  setUp: 'Set up',
  turnOff: 'Turn off',
  newCodes: 'New recovery codes',
  scan: 'Scan this with an authenticator app, then enter the six digits that it shows.',
  orType: 'Or type the key into the app:',
  code: 'Code',
  confirm: 'Confirm',
  codes: 'Recovery codes',
  codesLead:
    'Each of these works once in place of the app. Keep them where you find them without your phone: they are shown only now.',
  done: 'I have kept them',
  turnedOff: 'The second factor is off.',
  newKey: 'New API key',
  keyName: 'What it is for',
  keySecret: 'The key is shown only now. Keep it where secrets are kept.',
};
