import type { ACCOUNT_TEXTS as EN } from './texts-en-account.ts';

/** What is said on the page of one's own account, in German. */
export const ACCOUNT_TEXTS: typeof EN = {
  changePassword: 'Passwort ändern',
  currentPassword: 'Jetziges Passwort',
  passwordChanged: 'Ihr Passwort ist geändert, Ihre anderen Sitzungen sind beendet.',
  totpOn: 'Bei jeder Anmeldung wird eine Authenticator-App verlangt.',
  totpOff: 'Nur Ihr Passwort wird verlangt. Eine Authenticator-App hält fern, wer es kennt.',
  codesLeft: (count) => `noch ${count} ${count === 1 ? 'Wiederherstellungscode' : 'Wiederherstellungscodes'}`,
  setUp: 'Einrichten',
  turnOff: 'Ausschalten',
  newCodes: 'Neue Wiederherstellungscodes',
  scan: 'Lesen Sie dies mit einer Authenticator-App ein, und geben Sie die sechs Ziffern ein, die sie zeigt.',
  orType: 'Oder geben Sie den Schlüssel in der App ein:',
  code: 'Code',
  confirm: 'Bestätigen',
  codes: 'Wiederherstellungscodes',
  codesLead:
    'Jeder gilt einmal anstelle der App. Bewahren Sie sie dort auf, wo Sie sie ohne Ihr Telefon finden: Sie werden nur jetzt gezeigt.',
  done: 'Ich habe sie aufbewahrt',
  turnedOff: 'Der zweite Faktor ist aus.',
  newKey: 'Neuer API-Schlüssel',
  keyName: 'Wofür er ist',
  keySecret: 'Der Schlüssel wird nur jetzt gezeigt. Bewahren Sie ihn auf wie ein Geheimnis.',
};
