import type { KithError, Reason, StatusCode, Violation } from './kith-error.ts';

/** The languages that there are texts in. */
export type Language = 'en' | 'de';

/** Texts in place of those of this package, by reason or by rule of a field (`string.email`). */
export type Texts = Readonly<Record<string, string>>;

/**
 * What to tell people of an error, as sentences: by its reason, or by its code if the reason has no text of its own or this
 * client does not know it. Says nothing of single fields: see {@link violationText}.
 */
export function errorText(error: KithError, language: Language = 'en', texts: Texts = {}): string {
  const { reason, code } = error;
  const own: Partial<Record<Reason, string>> = reasonTexts[language];
  const text = reason === undefined ? undefined : (texts[reason] ?? own[reason]);
  return text ?? texts[code] ?? CODES[language][code] ?? FAILED[language];
}

/** What to tell people of a field that breaks a rule, to stand beside the field. */
export function violationText({ rule }: Violation, language: Language = 'en', texts: Texts = {}): string {
  return texts[rule] ?? RULES[language][rule] ?? INVALID[language];
}

/** The texts of reasons that say more than their status code does. */
export const reasonTexts = {
  en: {
    MALFORMED_REQUEST: 'The request could not be read.',
    FIELDS_INVALID: 'Please check what you have entered.',
    FIELD_UNKNOWN: 'The server does not know everything that was sent. It may be older than this application.',
    REQUEST_TOO_LARGE: 'This is too much data for one request.',
    METHOD_UNKNOWN: 'The server cannot do this. It may be older than this application.',
    ENCODING_UNSUPPORTED: 'The server cannot read this kind of request.',
    DEADLINE_EXCEEDED: 'The server did not answer in time. Whether the change was made is not known.',
    SERVER_UNAVAILABLE: 'The server is not available at the moment. Please try again soon.',
    SERVER_BUSY: 'The server is busy. Please try again soon.',
    INTERNAL: 'Something went wrong on the server.',
    SERVICE_UNKNOWN: 'The server does not offer this service.',
    BUDGET_EXCEEDED: 'You have reached a limit. Please try again later.',
    ACCESS_TOKEN_MISSING: 'Please sign in.',
    ACCESS_TOKEN_INVALID: 'Please sign in again.',
    ACCESS_TOKEN_EXPIRED: 'Your sign-in has expired. Please sign in again.',
    SESSION_ENDED: 'You have been signed out. Please sign in again.',
    REFRESH_TOKEN_INVALID: 'Please sign in again.',
    REFRESH_TOKEN_REUSED: 'For your safety you have been signed out. Please sign in again.',
    CREDENTIALS_INVALID: 'The name or the password is wrong. After several attempts, wait some minutes.',
    FIELD_NEEDS_PERMISSION: 'You are not allowed to change this field.',
    FRESH_SIGN_IN_REQUIRED: 'Please sign in again to confirm this.',
    SESSION_REQUIRED: 'This takes a signed-in user. An API key cannot do it.',
    API_KEY_REQUIRED: 'This takes an API key.',
    TOO_MANY_ATTEMPTS: 'There were too many failed attempts to sign in. Please try again later.',
    CHALLENGE_INVALID: 'The sign-in took too long or has changed. Please sign in again.',
    CHALLENGE_STEP_WRONG: 'The sign-in asks for another step.',
    SECOND_FACTOR_WRONG: 'The code is wrong. After several attempts, wait some minutes.',
    API_KEY_INVALID: 'The API key is not valid any more.',
    USER_NOT_FOUND: 'This user does not exist.',
    USERNAME_TAKEN: 'This username is taken.',
    EMAIL_TAKEN: 'This email address is taken.',
    LAST_ADMIN: 'This is the last administrator. Another one is needed first.',
    PASSWORD_WRONG: 'The current password is wrong.',
    PASSWORD_IS_IDENTIFIER: 'The password must not be the username or the email address.',
    PASSWORD_TOO_COMMON: 'This password is too easy to guess. Please choose another.',
    PASSWORD_HASH_UNSUPPORTED: 'This kind of password hash cannot be imported.',
    PASSWORD_UNCHANGED: 'The new password must not be the old one.',
    SESSION_NOT_FOUND: 'This session does not exist any more.',
    SECOND_FACTOR_ENABLED: 'A second factor is set up already.',
    SECOND_FACTOR_NOT_ENABLED: 'No second factor is set up.',
    TOTP_NOT_ENROLLED: 'There is nothing to confirm any more. Please set up the authenticator app again.',
    API_KEY_NOT_FOUND: 'This API key does not exist.',
    API_KEY_LIMIT_REACHED: 'You have as many API keys as you may have.',
    TOTP_CODE_WRONG: 'The code is wrong. After several attempts, wait some minutes.',
    CONTACT_NOT_FOUND: 'This contact does not exist.',
    CONTACT_EMPTY: 'A contact needs a name, a company, an email address or a phone number.',
    CONTACT_LIMIT_REACHED: 'You have as many contacts as you may have.',
    ETAG_MISMATCH: 'Somebody else has changed this meanwhile. Please look at it again.',
    REQUEST_ID_REUSED: 'The request was sent before with other content.',
    PAGE_TOKEN_INVALID: 'The list cannot be continued. Please start again.',
    RESOURCE_DELETED: 'This has been deleted.',
    RESOURCE_NOT_DELETED: 'This is not deleted.',
    ACTION_RESERVED: 'This name of an action is reserved.',
    CURSOR_INVALID: 'The events cannot be continued from here.',
    CURSOR_EXPIRED: 'Older events are not kept any more.',
    CONSUMER_TOO_SLOW: 'The connection was too slow.',
    ACTIVITY_ID_TAKEN: 'There is another activity under this id.',
  },
  de: {
    MALFORMED_REQUEST: 'Die Anfrage war nicht lesbar.',
    FIELDS_INVALID: 'Bitte prüfen Sie Ihre Eingaben.',
    FIELD_UNKNOWN: 'Der Server kennt nicht alles, was gesendet wurde. Vielleicht ist er älter als diese Anwendung.',
    REQUEST_TOO_LARGE: 'Das sind zu viele Daten für eine Anfrage.',
    METHOD_UNKNOWN: 'Der Server kann das nicht. Vielleicht ist er älter als diese Anwendung.',
    ENCODING_UNSUPPORTED: 'Der Server kann Anfragen dieser Art nicht lesen.',
    DEADLINE_EXCEEDED:
      'Der Server hat nicht rechtzeitig geantwortet. Ob die Änderung wirksam wurde, ist nicht bekannt.',
    SERVER_UNAVAILABLE: 'Der Server ist gerade nicht erreichbar. Bitte versuchen Sie es gleich noch einmal.',
    SERVER_BUSY: 'Der Server ist ausgelastet. Bitte versuchen Sie es gleich noch einmal.',
    INTERNAL: 'Auf dem Server ist ein Fehler aufgetreten.',
    SERVICE_UNKNOWN: 'Der Server bietet diesen Dienst nicht an.',
    BUDGET_EXCEEDED: 'Sie haben eine Grenze erreicht. Bitte versuchen Sie es später noch einmal.',
    ACCESS_TOKEN_MISSING: 'Bitte melden Sie sich an.',
    ACCESS_TOKEN_INVALID: 'Bitte melden Sie sich neu an.',
    ACCESS_TOKEN_EXPIRED: 'Ihre Anmeldung ist abgelaufen. Bitte melden Sie sich neu an.',
    SESSION_ENDED: 'Sie wurden abgemeldet. Bitte melden Sie sich neu an.',
    REFRESH_TOKEN_INVALID: 'Bitte melden Sie sich neu an.',
    REFRESH_TOKEN_REUSED: 'Zu Ihrer Sicherheit wurden Sie abgemeldet. Bitte melden Sie sich neu an.',
    CREDENTIALS_INVALID: 'Name oder Passwort ist falsch. Warten Sie nach mehreren Versuchen einige Minuten.',
    FIELD_NEEDS_PERMISSION: 'Dieses Feld dürfen Sie nicht ändern.',
    FRESH_SIGN_IN_REQUIRED: 'Bitte melden Sie sich zur Bestätigung neu an.',
    SESSION_REQUIRED: 'Das kann nur ein angemeldeter Benutzer, kein API-Schlüssel.',
    API_KEY_REQUIRED: 'Dafür ist ein API-Schlüssel nötig.',
    TOO_MANY_ATTEMPTS: 'Zu viele Anmeldungen sind fehlgeschlagen. Bitte versuchen Sie es später noch einmal.',
    CHALLENGE_INVALID: 'Die Anmeldung hat zu lange gedauert oder gilt nicht mehr. Bitte melden Sie sich neu an.',
    CHALLENGE_STEP_WRONG: 'Die Anmeldung verlangt einen anderen Schritt.',
    SECOND_FACTOR_WRONG: 'Der Code ist falsch. Warten Sie nach mehreren Versuchen einige Minuten.',
    API_KEY_INVALID: 'Der API-Schlüssel gilt nicht mehr.',
    USER_NOT_FOUND: 'Diesen Benutzer gibt es nicht.',
    USERNAME_TAKEN: 'Dieser Benutzername ist vergeben.',
    EMAIL_TAKEN: 'Diese E-Mail-Adresse ist vergeben.',
    LAST_ADMIN: 'Das ist der letzte Administrator. Zuerst ist ein weiterer nötig.',
    PASSWORD_WRONG: 'Das aktuelle Passwort ist falsch.',
    PASSWORD_IS_IDENTIFIER: 'Das Passwort darf nicht der Benutzername oder die E-Mail-Adresse sein.',
    PASSWORD_TOO_COMMON: 'Dieses Passwort ist zu leicht zu erraten. Bitte wählen Sie ein anderes.',
    PASSWORD_HASH_UNSUPPORTED: 'Passwort-Hashes dieser Art können nicht übernommen werden.',
    PASSWORD_UNCHANGED: 'Das neue Passwort darf nicht das alte sein.',
    SESSION_NOT_FOUND: 'Diese Sitzung gibt es nicht mehr.',
    SECOND_FACTOR_ENABLED: 'Ein zweiter Faktor ist schon eingerichtet.',
    SECOND_FACTOR_NOT_ENABLED: 'Es ist kein zweiter Faktor eingerichtet.',
    TOTP_NOT_ENROLLED: 'Es gibt nichts mehr zu bestätigen. Bitte richten Sie die Authenticator-App neu ein.',
    API_KEY_NOT_FOUND: 'Diesen API-Schlüssel gibt es nicht.',
    API_KEY_LIMIT_REACHED: 'Sie haben die größte Zahl an API-Schlüsseln erreicht.',
    TOTP_CODE_WRONG: 'Der Code ist falsch. Warten Sie nach mehreren Versuchen einige Minuten.',
    CONTACT_NOT_FOUND: 'Diesen Kontakt gibt es nicht.',
    CONTACT_EMPTY: 'Ein Kontakt braucht einen Namen, eine Firma, eine E-Mail-Adresse oder eine Telefonnummer.',
    CONTACT_LIMIT_REACHED: 'Sie haben die größte Zahl an Kontakten erreicht.',
    ETAG_MISMATCH: 'Jemand anderes hat das inzwischen geändert. Bitte sehen Sie es noch einmal an.',
    REQUEST_ID_REUSED: 'Die Anfrage wurde schon mit anderem Inhalt gesendet.',
    PAGE_TOKEN_INVALID: 'Die Liste kann nicht fortgesetzt werden. Bitte beginnen Sie von vorn.',
    RESOURCE_DELETED: 'Das wurde gelöscht.',
    RESOURCE_NOT_DELETED: 'Das ist nicht gelöscht.',
    ACTION_RESERVED: 'Dieser Name einer Aktion ist reserviert.',
    CURSOR_INVALID: 'Von hier aus können die Ereignisse nicht fortgesetzt werden.',
    CURSOR_EXPIRED: 'Ältere Ereignisse werden nicht mehr aufbewahrt.',
    CONSUMER_TOO_SLOW: 'Die Verbindung war zu langsam.',
    ACTIVITY_ID_TAKEN: 'Unter dieser Kennung gibt es eine andere Aktivität.',
  },
} as const satisfies Record<Language, Partial<Record<Reason, string>>>;

/** The texts of all status codes that the contract has: of errors of the network, and of reasons without a text of their own. */
const CODES: Record<Language, Partial<Record<StatusCode, string>>> = {
  en: {
    Canceled: 'The request was canceled.',
    InvalidArgument: 'Please check what you have entered.',
    DeadlineExceeded: 'The server did not answer in time.',
    NotFound: 'This does not exist.',
    AlreadyExists: 'This exists already.',
    PermissionDenied: 'You are not allowed to do this.',
    ResourceExhausted: 'You have reached a limit. Please try again later.',
    FailedPrecondition: 'This cannot be done as things are. Something else has to be changed first.',
    Aborted: 'Somebody else has changed this meanwhile. Please look at it again.',
    OutOfRange: 'There is nothing there any more.',
    Unimplemented: 'The server cannot do this. It may be older than this application.',
    Internal: 'Something went wrong on the server.',
    Unavailable: 'The server cannot be reached at the moment.',
    Unauthenticated: 'Please sign in again.',
  },
  de: {
    Canceled: 'Die Anfrage wurde abgebrochen.',
    InvalidArgument: 'Bitte prüfen Sie Ihre Eingaben.',
    DeadlineExceeded: 'Der Server hat nicht rechtzeitig geantwortet.',
    NotFound: 'Das gibt es nicht.',
    AlreadyExists: 'Das gibt es schon.',
    PermissionDenied: 'Das dürfen Sie nicht.',
    ResourceExhausted: 'Sie haben eine Grenze erreicht. Bitte versuchen Sie es später noch einmal.',
    FailedPrecondition: 'Das geht so nicht. Zuerst muss etwas anderes geändert werden.',
    Aborted: 'Jemand anderes hat das inzwischen geändert. Bitte sehen Sie es noch einmal an.',
    OutOfRange: 'Dort gibt es nichts mehr.',
    Unimplemented: 'Der Server kann das nicht. Vielleicht ist er älter als diese Anwendung.',
    Internal: 'Auf dem Server ist ein Fehler aufgetreten.',
    Unavailable: 'Der Server ist gerade nicht erreichbar.',
    Unauthenticated: 'Bitte melden Sie sich neu an.',
  },
};

const FAILED: Record<Language, string> = {
  en: 'That did not work. Please try again.',
  de: 'Das hat nicht geklappt. Bitte versuchen Sie es noch einmal.',
};

/** The rules of the contract that people can break by what they enter. */
const RULES: Record<Language, Texts> = {
  en: {
    required: 'Please fill this in.',
    'string.min_len': 'This is too short.',
    'string.max_len': 'This is too long.',
    'string.email': 'This is not an email address.',
    'string.email_empty': 'Please enter an email address.',
    'string.line': 'This must be one line of plain text.',
    'string.lines': 'This must be plain text.',
    'string.visible': 'Please enter something that can be seen.',
    'string.username':
      'Use 3 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit at both ends.',
    'string.totp_code': 'The code has six digits.',
    'string.web_url': 'A web address begins with http:// or https://.',
    'repeated.min_items': 'There are too few.',
    'repeated.max_items': 'There are too many.',
    'repeated.unique': 'One of these is there twice.',
    'contact.one_primary': 'Only one can be the main one.',
    'create_user.password_or_hash': 'Please enter a password.',
    'email_address.at': 'An email address has an @ between two parts.',
    'partial_date.empty': 'Please enter a date.',
    'partial_date.day': 'There is no such day.',
    'partial_date.day_without_month': 'A day needs a month.',
    'postal_address.empty': 'Please enter an address.',
  },
  de: {
    required: 'Bitte füllen Sie das aus.',
    'string.min_len': 'Das ist zu kurz.',
    'string.max_len': 'Das ist zu lang.',
    'string.email': 'Das ist keine E-Mail-Adresse.',
    'string.email_empty': 'Bitte geben Sie eine E-Mail-Adresse ein.',
    'string.line': 'Das muss eine Zeile einfacher Text sein.',
    'string.lines': 'Das muss einfacher Text sein.',
    'string.visible': 'Bitte geben Sie etwas Sichtbares ein.',
    'string.username':
      'Verwenden Sie 3 bis 64 Buchstaben (ohne Umlaute), Ziffern, Punkte, Binde- und Unterstriche, mit einem Buchstaben oder einer Ziffer an beiden Enden.',
    'string.totp_code': 'Der Code hat sechs Ziffern.',
    'string.web_url': 'Eine Webadresse beginnt mit http:// oder https://.',
    'repeated.min_items': 'Das sind zu wenige.',
    'repeated.max_items': 'Das sind zu viele.',
    'repeated.unique': 'Eines davon ist doppelt.',
    'contact.one_primary': 'Nur eines kann das wichtigste sein.',
    'create_user.password_or_hash': 'Bitte geben Sie ein Passwort ein.',
    'email_address.at': 'Eine E-Mail-Adresse hat ein @ zwischen zwei Teilen.',
    'partial_date.empty': 'Bitte geben Sie ein Datum ein.',
    'partial_date.day': 'Diesen Tag gibt es nicht.',
    'partial_date.day_without_month': 'Zu einem Tag gehört ein Monat.',
    'postal_address.empty': 'Bitte geben Sie eine Adresse ein.',
  },
};

const INVALID: Record<Language, string> = { en: 'This is not valid.', de: 'Das ist nicht gültig.' };
