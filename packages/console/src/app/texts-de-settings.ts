import type { SETTINGS_TEXTS as EN } from './texts-en-settings.ts';

/** What is said on the pages of settings, in German. */
export const SETTINGS_TEXTS: typeof EN = {
  settingsLead:
    'Wonach sich dieser Server richtet. Einstellungen werden dort geändert, wo er gestartet wird: in der Umgebung, in einer Datei `.env` oder in der Datei, die `NAME_FILE` nennt. Die meisten gelten ab dem nächsten Start.',
  ownKeys: 'Meine API-Schlüssel',
  toldBy: (hostname, pid) => `Auskunft von Prozess ${pid} auf ${hostname}.`,
  worker: (worker) => `Es ist Worker ${worker}.`,
  whoSignsUp: 'Wer sich registrieren darf',
  policies: {
    open: 'Alle dürfen sich registrieren, eingeladen oder nicht.',
    invitation: 'Nur wer eingeladen ist, darf sich registrieren.',
    closed: 'Niemand darf sich registrieren. Admins legen die Personen an.',
  },
  anyDomain: 'Adressen jeder Domain werden angenommen.',
  onlyDomains: (domains) => `Nur Adressen dieser Domains werden angenommen: ${domains}`,
  loginCodesOn: 'Statt mit dem Passwort kann man sich mit einem Code anmelden, der per E-Mail kommt.',
  loginCodesOff: 'Man meldet sich mit dem Passwort an; Codes per E-Mail sind aus.',
  signUpSettings: 'Die Einstellungen dazu',
  settingsSearch: 'Einstellungen suchen',
  onlyChanged: 'Vom Standard abweichend',
  shownOf: (shown, all) => `${shown} von ${all} Einstellungen`,
  noSettings: 'Keine Einstellung passt',
  noSettingsLead: 'Ändern Sie die Suche, oder zeigen Sie auch die mit ihrem Standard.',
  otherSettings: 'Weitere Einstellungen',
  allowed: 'Erlaubt',
  range: (least, most) => `von ${least} bis ${most}`,
  inFile: 'in',
  defaultIs: 'Standard:',
  isSet: 'gesetzt',
  notSet: 'nicht gesetzt',
  sources: { 1: 'Standard', 2: 'Umgebung', 3: '.env', 4: 'Datei' },
  sections: {
    1: 'Adresse und Prozesse',
    2: 'Datenbank',
    3: 'Geheimnisse und TLS',
    4: 'Anmeldung, Sitzungen und Token',
    5: 'E-Mails',
    6: 'Registrierung',
    7: 'Was aufbewahrt wird',
    8: 'Browser, Werkzeuge und Seiten',
    9: 'Aufrufe und Verbindungen',
    10: 'Anhalten',
    11: 'Metriken und Protokoll',
  },
  help: {
    KITH_HOST: 'Die Adresse, auf der der Server erreichbar ist; 0.0.0.0 oder :: für alle.',
    KITH_PORT: 'Der Port, für alle Protokolle; 0 wählt einen freien.',
    KITH_WORKERS: 'Die Zahl der Prozesse, die sich den Port teilen. Mehr als einer braucht PostgreSQL.',
    KITH_DATABASE_URL: 'Die Datenbank, in der die Daten liegen.',
    KITH_DATABASE_CONNECTIONS: 'PostgreSQL: die Zahl der Verbindungen jedes Prozesses.',
    KITH_DATABASE_WAIT_MS: 'PostgreSQL: wie lange ein Aufruf auf eine Verbindung wartet, bevor er abgelehnt wird.',
    KITH_DATABASE_STATEMENT_MS: 'PostgreSQL: wie lange eine Anweisung laufen darf, bevor sie abgebrochen wird.',
    KITH_DATABASE_IDLE_MS: 'PostgreSQL: wie lange eine Transaktion ruhen darf, bevor sie zurückgerollt wird.',
    KITH_ADMIN_PASSWORD:
      'Das Passwort des Administrators, den der erste Start anlegt. Ohne: Es wird erzeugt und einmal ausgegeben.',
    KITH_SECRET_KEY:
      'Verschlüsselt die Signaturschlüssel und sichert Refresh-Token. Ohne: ein Schlüssel in einer Datei neben der Datenbank, den der erste Start anlegt.',
    KITH_TLS_CERT: 'Die Zertifikatskette für TLS. Braucht KITH_TLS_KEY.',
    KITH_TLS_KEY: 'Der private Schlüssel. Braucht KITH_TLS_CERT.',
    KITH_ISSUER:
      'Die Angabe iss in Zugriffstoken: die URL, unter der Aufrufer diesen Dienst kennen. Ohne: aus Adresse und Port.',
    KITH_AUDIENCE: 'Die Angabe aud in Zugriffstoken.',
    KITH_ACCESS_TOKEN_SECONDS: 'Wie lange ein Zugriffstoken gilt.',
    KITH_SESSION_IDLE_DAYS: 'Wie lange eine Sitzung dauert, wenn sie nicht erneuert wird.',
    KITH_SESSION_MAX_DAYS: 'Wie lange eine Sitzung höchstens dauert, erneuert oder nicht.',
    KITH_SESSIONS_PER_USER:
      'Wie viele Sitzungen eine Person haben darf. Geht eine Anmeldung darüber hinaus, endet die älteste.',
    KITH_FRESH_SIGN_IN_SECONDS:
      'Wie lange eine Anmeldung her sein darf, um Passwort oder zweiten Faktor zu ändern oder einen API-Schlüssel anzulegen.',
    KITH_SIGNING_KEY_DAYS: 'Wie lange ein Schlüssel Zugriffstoken signiert, bevor der nächste es tut.',
    KITH_SIGN_IN_FAILURES_PER_ADDRESS:
      'Wie viele Anmeldungen von einer Adresse (IPv6: /64) kurz nacheinander scheitern dürfen. Danach darf es alle 10 s eine.',
    KITH_TRUSTED_PROXIES:
      'Die Reverse-Proxys, deren Kopfzeile X-Forwarded-For geglaubt wird, von rechts nach links. Ohne: keine.',
    KITH_SMTP_URL:
      'Der Mailserver, der E-Mails an Personen sendet, etwa Codes für ein neues Passwort. Ohne ihn und KITH_MAIL_WEBHOOK_URL warten E-Mails im Ausgang.',
    KITH_MAIL_WEBHOOK_URL:
      'Ein eigener Dienst, der die E-Mails anstelle eines Mailservers per POST bekommt und selbst verschickt. Braucht KITH_MAIL_WEBHOOK_SECRET.',
    KITH_MAIL_WEBHOOK_SECRET:
      'Signiert, was dorthin geht, wie es Standard Webhooks beschreibt. Zwei, während eines das andere ablöst: Jede Anfrage trägt dann beide Signaturen.',
    KITH_MAIL_FROM: 'Der Absender der E-Mails. Ohne: no-reply beim Host aus KITH_ISSUER.',
    KITH_MAIL_LANGUAGE:
      'Die Sprache der E-Mails an Personen ohne Sprache, oder mit einer, in der es keine Vorlagen gibt.',
    KITH_MAIL_TEMPLATES:
      'Ein Verzeichnis mit Texten für E-Mails anstelle der mitgelieferten, oder in anderen Sprachen. Ohne: keines.',
    KITH_SERVICE_NAME: 'Der Name, unter dem Personen den Dienst kennen; E-Mails und Kontoseiten nennen ihn.',
    KITH_SIGN_UP:
      'Wer ohne Administrator dazukommen kann, mit einem Code per E-Mail: niemand, wer eingeladen ist, oder alle.',
    KITH_SIGN_UP_DOMAINS:
      'Die Domains der E-Mail-Adressen, die sich registrieren oder eingeladen werden dürfen. Ohne: alle.',
    KITH_LOGIN_CODES:
      'Lässt Personen sich mit einem Code anmelden, der an ihre bestätigte Adresse geht, statt mit dem Passwort.',
    KITH_PURGE_AFTER_DAYS: 'Wie lange sich ein Löschen zurücknehmen lässt.',
    KITH_ACTIVITY_DAYS: 'Wie lange Aktivität aufbewahrt wird.',
    KITH_CONTACTS_PER_USER: 'Wie viele Kontakte eine Person haben darf, gelöschte eingerechnet.',
    KITH_CONTACT_BYTES_PER_USER:
      'Wie viele Bytes die Kontakte einer Person in der Datenbank belegen dürfen, Suchbegriffe eingerechnet.',
    KITH_LABELS_PER_USER: 'Wie viele Labels für Kontakte eine Person haben darf, gelöschte eingerechnet.',
    KITH_CORS_ORIGINS: 'Die Origins, deren Seiten aus einem Browser aufrufen dürfen. Ohne: keine.',
    KITH_REFLECTION:
      'Gibt Werkzeugen den Vertrag: gRPC Server Reflection, eine Datei unter `/contract.binpb`, OpenAPI unter `/openapi.json`, Rat zu jedem Fehler unter `/errors`.',
    KITH_CONSOLE: 'Der Pfad der Konsole, der Seiten für Menschen; off liefert keine aus.',
    KITH_ACCOUNT:
      'Der Pfad der Kontoseiten, auf denen man sich anmeldet, registriert, ein Passwort setzt und eine Adresse bestätigt; off liefert keine aus.',
    KITH_ACCOUNT_URL:
      'Wohin Links in E-Mails führen: die URL der Kontoseiten, oder eigener Seiten an ihrer Stelle. Ohne: KITH_ACCOUNT beim Host aus KITH_ISSUER.',
    KITH_ACCOUNT_HOME_URL: 'Wohin die Kontoseiten führen, wer sich angemeldet hat. Ohne: zur Konsole.',
    KITH_ACCOUNT_LOGO_URL: 'Das Logo auf den Kontoseiten. Ohne: das von Kith.',
    KITH_ACCOUNT_COLOR: 'Die Farbe von Knöpfen und Links auf den Kontoseiten.',
    KITH_FAST_PATH:
      'Beantwortet Aufrufe auf dem schnellen Weg, wo er möglich ist. Bei false bedient Connect jeden Aufruf, um ein Mehrfaches langsamer.',
    KITH_MESSAGE_BYTES:
      'Die größte Anfrage, entpackt. Methoden, die weniger brauchen, lesen weniger: die, die allen offenstehen, 64 KiB, Fragen der Reflection 4 KiB.',
    KITH_CONNECTIONS: 'Wie viele Verbindungen offen sein dürfen.',
    KITH_CONNECTIONS_PER_ADDRESS:
      'Wie viele Verbindungen von einer Adresse (IPv6: /64) offen sein dürfen, die kein vertrauter Proxy ist.',
    KITH_WATCHES_PER_CALLER:
      'Wie viele Beobachtungen und aufzeichnende Streams eine Person in jedem Prozess offen haben darf, API-Schlüssel eingerechnet.',
    KITH_WATCHES:
      'Wie viele Beobachtungen und aufzeichnende Streams aller Personen in jedem Prozess offen sein dürfen.',
    KITH_REQUEST_SECONDS: 'Wie lange eine Anfrage brauchen darf, um anzukommen.',
    KITH_SHUTDOWN_DELAY_SECONDS:
      'Wie lange der Server nach SIGTERM, nicht mehr bereit, weiter antwortet, damit Load-Balancer es merken.',
    KITH_SHUTDOWN_SECONDS: 'Wie lange laufende Aufrufe danach noch dauern dürfen.',
    KITH_METRICS_HOST: 'Die Adresse, auf der es Metriken gibt. Wer sich verbinden kann, kann sie lesen.',
    KITH_METRICS_PORT:
      'Der Port für Metriken für Prometheus unter /metrics; 0 für keine. Von mehreren Workern nimmt jeder den nächsten Port.',
    KITH_LOG_LEVEL: 'Die niedrigste Stufe, die protokolliert wird.',
    KITH_LOG_ONE_IN: 'Protokolliert einen von N erfolgreichen Aufrufen. Fehlschläge werden immer protokolliert.',
  },
  allowedOf: {
    KITH_HOST: 'eine IP-Adresse oder ein Hostname, ohne Schema und Port',
    KITH_DATABASE_URL: 'sqlite:PFAD oder postgres://BENUTZER:PASSWORT@HOST/DATENBANK',
    KITH_ADMIN_PASSWORD: '8 bis 128 Zeichen, nicht admin@localhost und kein verbreitetes Passwort',
    KITH_SECRET_KEY: '32 zufällige Bytes in Base64, etwa aus: openssl rand -base64 32',
    KITH_TLS_CERT: 'der Pfad einer lesbaren Datei mit einer Zertifikatskette in PEM',
    KITH_TLS_KEY: 'der Pfad einer lesbaren Datei mit einem privaten Schlüssel ohne Passphrase in PEM',
    KITH_ISSUER: 'eine http- oder https-URL von höchstens 1.000 Zeichen',
    KITH_AUDIENCE: 'ein Name von höchstens 200 Zeichen, ohne Leerzeichen',
    KITH_TRUSTED_PROXIES: 'IP-Adressen oder CIDR-Blöcke, durch Kommas getrennt, etwa 10.0.0.0/8',
    KITH_SMTP_URL:
      'smtp://HOST:PORT oder smtps://HOST:PORT, mit USER:PASSWORD@ vor dem Host, wenn der Server es verlangt',
    KITH_MAIL_WEBHOOK_URL: 'eine http- oder https-URL ohne Benutzer und Fragment, etwa https://mailer.example.org/kith',
    KITH_MAIL_WEBHOOK_SECRET:
      'whsec_ und 24 bis 64 zufällige Bytes in Base64, etwa aus: echo whsec_$(openssl rand -base64 32), oder zwei davon mit einem Leerzeichen dazwischen',
    KITH_MAIL_FROM: 'eine E-Mail-Adresse, oder Name und Adresse: Example <accounts@example.org>',
    KITH_MAIL_LANGUAGE: 'en, de oder eine Sprache in KITH_MAIL_TEMPLATES',
    KITH_MAIL_TEMPLATES:
      'der Pfad eines Verzeichnisses mit Dateien wie de/password_reset.txt, wie docs/mail.md sie beschreibt',
    KITH_SERVICE_NAME: 'ein Name von höchstens 100 Zeichen',
    KITH_SIGN_UP: 'closed, invitation, open',
    KITH_SIGN_UP_DOMAINS: 'Domains, durch Kommas getrennt: example.org,example.com',
    KITH_LOGIN_CODES: 'true oder false',
    KITH_CORS_ORIGINS: 'Origins, durch Kommas getrennt, etwa https://app.example.org',
    KITH_REFLECTION: 'true oder false',
    KITH_CONSOLE: 'off, oder ein Pfad aus Kleinbuchstaben, Ziffern und Bindestrichen, etwa /console/',
    KITH_ACCOUNT: 'off, oder ein Pfad aus Kleinbuchstaben, Ziffern und Bindestrichen, etwa /account/',
    KITH_ACCOUNT_URL:
      'eine http- oder https-URL ohne Benutzer, Abfrage und Fragment, etwa https://example.org/account/',
    KITH_ACCOUNT_HOME_URL: 'ein Pfad wie /app/, oder eine http- oder https-URL',
    KITH_ACCOUNT_LOGO_URL:
      'ein Pfad wie /logo.svg, oder eine http- oder https-URL, aus Buchstaben, Ziffern und den Zeichen _ . ~ % / -',
    KITH_ACCOUNT_COLOR: 'eine Farbe als #rrggbb, etwa #4338ca',
    KITH_FAST_PATH: 'true oder false',
    KITH_METRICS_HOST: 'eine IP-Adresse oder ein Hostname, ohne Schema und Port',
    KITH_LOG_LEVEL: 'trace, debug, info, warn, error, fatal, silent',
  },
  mailTemplatesLead:
    'E-Mails, wie Personen sie bekommen, mit erfundenen Werten. Eigene Texte gehören in das Verzeichnis aus KITH_MAIL_TEMPLATES. Bilder auf anderen Servern werden hier nicht geladen.',
  mail: 'E-Mail',
  allMails: 'Alle E-Mails',
  mailLanguage: 'Sprache der E-Mail',
  serverLanguage: 'Serversprache',
  mailColors: 'Farben der E-Mail',
  light: 'Hell',
  dark: 'Dunkel',
  width: 'Breite',
  widths: { '': 'Ganze Breite', '390': 'Telefon, 390 px' },
  shown: 'Gezeigt',
  subject: 'Betreff',
  html: 'HTML',
  text: 'Text',
  mailAs: (mail, form) => `${mail}, ${form}`,
  kinds: {
    login_code: 'Code zum Anmelden',
    password_reset: 'Code für ein neues Passwort',
    password_changed: 'Das Passwort wurde geändert',
    sign_up: 'Code zum Registrieren',
    sign_up_known: 'Registrieren mit einer Adresse, die ein Konto hat',
    invitation: 'Einladung',
    email_verification: 'Code zum Bestätigen der Adresse',
    email_change: 'Code zum Bestätigen einer neuen Adresse',
    email_taken: 'Jemand anderes wollte die Adresse',
    email_changed: 'Die Adresse wurde geändert',
    email_take_back: 'Die Adresse wurde geändert, rückgängig zu machen',
    new_sign_in: 'Neue Anmeldung',
    second_factor_enabled: 'Eine Authenticator-App kam dazu',
    second_factor_disabled: 'Die Authenticator-App wurde entfernt',
    second_factor_reset: 'Der zweite Faktor wurde zurückgesetzt',
    recovery_codes_replaced: 'Es gibt neue Wiederherstellungscodes',
    api_key_created: 'Es gibt einen neuen API-Schlüssel',
  },
};
