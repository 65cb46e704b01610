import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { getOption } from '@bufbuild/protobuf';
import { field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { createClient } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { OutboxService, PreviewMailRequestSchema } from '../../../gen/kith/mail/v1/outbox_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { ADMIN_PASSWORD, grpc } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { ConfigError, parseConfig } from '../../config/config.ts';
import { Reloads } from '../../config/reload.ts';
import { startServer } from '../../server.ts';
import { MAIL_KINDS } from './kinds.ts';
import { MailTemplates } from './templates.ts';

const CODE = { code: '12345678' };

function directoryOf(files: Record<string, string | Buffer>): string {
  const directory = mkdtempSync(join(tmpdir(), 'kith-templates-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  write(directory, files);
  return directory;
}

function write(directory: string, files: Record<string, string | Buffer>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
}

/** The templates that a server with these files has. */
function templatesOf(files: Record<string, string>, env: Record<string, string> = {}): MailTemplates {
  const { mail, mailTemplates, account } = parseConfig({
    KITH_MAIL_TEMPLATES: directoryOf(files),
    KITH_SERVICE_NAME: 'A <b> & "Co"',
    ...env,
  });
  return new MailTemplates({ ...mail, accountUrl: account.url, own: mailTemplates });
}

function problemsOf(env: Record<string, string>): string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('templates of the operator', () => {
  test('take the place of those of their language and kind, and of no others', () => {
    const templates = templatesOf({
      'de/password_reset.txt':
        '\uFEFFSubject: Code für {{service}}\r\n\r\nHallo,\r\nhier: {{code}}\r\n\r\nOder: {{link}}\r\n',
    });
    const { subject, text, html } = templates.render('password_reset', CODE, { locale: 'de-AT' });
    expect(subject).toBe('Code für A <b> & "Co"');
    const link = 'http://localhost:8080/account/reset-password#code=12345678';
    expect(text).toBe(`Hallo,\nhier: 1234 5678\n\nOder: ${link}\n`);
    expect(html).toContain(`<a href="${link}">`);
    expect(templates.render('password_reset', CODE).text).toContain('Type it where you asked for it');
    expect(templates.render('login_code', CODE, { locale: 'de' }).subject).toBe('Ihr Code zur Anmeldung');
  });

  test('have HTML of their own, in which values are escaped, and which goes with a text that is built in', () => {
    const templates = templatesOf({
      'en/password_reset.html': '<h1 title="{{service}}">{{service}}</h1>\n<a href="{{link}}">{{code}}</a>{{link}}',
    });
    const { text, html } = templates.render('password_reset', CODE);
    const link = 'http://localhost:8080/account/reset-password#code=12345678';
    const service = 'A &lt;b&gt; &amp; &quot;Co&quot;';
    expect(html).toBe(`<h1 title="${service}">${service}</h1>\n<a href="${link}">1234 5678</a>${link}`);
    expect(text).toContain('Type it where you asked for it');
  });

  test('add languages, of which the nearest to the locale is taken, and that of the server for kinds that are missing', () => {
    const templates = templatesOf(
      {
        'fr/password_reset.txt': 'Subject: Votre code\n\n{{code}}',
        'pt-BR/password_changed.txt': 'Subject: Senha\n\n{{time}}',
      },
      { KITH_MAIL_LANGUAGE: 'fr' },
    );
    const render = (locale: string) => templates.render('password_reset', CODE, { locale });
    expect(['fr', 'fr-CA', 'pt-BR', '', 'de'].map((locale) => render(locale).language)).toEqual([
      'fr',
      'fr',
      'fr',
      'fr',
      'de',
    ]);
    expect(render('fr-CA').html).toContain('<html lang="fr">');
    const changed = (locale: string) => templates.render('password_changed', { timeMs: 0 }, { locale });
    expect(changed('pt-BR').text).toMatch(/^1 de janeiro de 1970/);
    expect(changed('pt').language).toBe('en'); // there is no Portuguese of everywhere, and no French text of this kind
  });

  test('are left alone where the names are not theirs, and may be links, as Kubernetes mounts them', () => {
    const directory = directoryOf({
      '..data/en/login_code.txt': 'Subject: By a link\n\n{{code}}',
      'README.md': '{{nothing}}',
      'en/notes.md': '{{nothing}}',
      'en/.login_code.txt.swp': '{{nothing}}',
    });
    symlinkSync('../..data/en/login_code.txt', join(directory, 'en/login_code.txt'));
    const { mailTemplates } = parseConfig({ KITH_MAIL_TEMPLATES: directory });
    expect(Object.keys(mailTemplates)).toEqual(['en/login_code.txt']);
  });
});

test.each<[what: string, files: Record<string, string | Buffer>, file: string, why: string | RegExp]>([
  [
    'a name that no mail of the kind has',
    { 'en/password_changed.txt': 'Subject: Changed\n\nHello {{service}},\n{{code}}' },
    'en/password_changed.txt',
    ', line 4: {{code}} is not known in mails of this kind; known are {{service}}, {{time}}, {{link}}',
  ],
  [
    'an unknown name in HTML',
    { 'en/login_code.html': '<p>{{code}}\n{{name}}</p>' },
    'en/login_code.html',
    ', line 2: {{name}} is not known in mails of this kind; known are {{service}}, {{code}}',
  ],
  [
    'braces that are no name',
    { 'en/login_code.txt': 'Subject: {{ service }}\n\n{{code}}' },
    'en/login_code.txt',
    ', line 1: {{ begins no {{name}}',
  ],
  [
    'no subject',
    { 'en/login_code.txt': 'Your code\n\n{{code}}' },
    'en/login_code.txt',
    /^, line 1: must be "Subject:"/,
  ],
  [
    'an empty subject',
    { 'en/login_code.txt': 'Subject:  \n\n{{code}}' },
    'en/login_code.txt',
    /^, line 1: must be "Subject:"/,
  ],
  ['no text', { 'en/email_taken.txt': 'Subject: Taken\n' }, 'en/email_taken.txt', ', line 2: there is no text'],
  [
    'no code',
    { 'en/login_code.txt': 'Subject: Your code\n\nHello' },
    'en/login_code.txt',
    ', line 1: must have {{code}}',
  ],
  [
    'neither a token nor a link',
    { 'en/email_take_back.txt': 'Subject: Changed\n\n{{time}}' },
    'en/email_take_back.txt',
    ', line 1: must have {{token}} or {{link}}',
  ],
  [
    'another kind',
    { 'en/password_rest.txt': 'Subject: x\n\ny' },
    'en/password_rest.txt',
    ' is not named as a kind of mail',
  ],
  ['a folder that is no language', { 'english/login_code.txt': '' }, 'english', /is not named as a language/],
  ['a language in another case', { 'pt-br/login_code.txt': '' }, 'pt-br', ' is not named as a language, such as pt-BR'],
  [
    'HTML without a text in its language',
    { 'fr/login_code.html': '{{code}}' },
    'fr/login_code.html',
    ' needs login_code.txt beside it, which has the subject and the text',
  ],
  [
    'a file that is too large',
    { 'en/login_code.html': 'x'.repeat(131_073) },
    'en/login_code.html',
    /is larger than 131072/,
  ],
  ['what is not UTF-8', { 'en/login_code.txt': Buffer.from('\u00fc', 'latin1') }, 'en/login_code.txt', ' is not UTF-8'],
  ['a directory for a file', { 'en/login_code.txt/x': '' }, 'en/login_code.txt', ' is not a file'],
  [
    'more files than anybody has',
    Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`en/${i}.md`, ''])),
    'en',
    ' has more than 500 files',
  ],
])('a directory with %s is refused by file and line', (_, files, file, why) => {
  const directory = directoryOf(files);
  const [problem = '', ...rest] = problemsOf({ KITH_MAIL_TEMPLATES: directory });
  expect(rest).toEqual([]);
  const where = `KITH_MAIL_TEMPLATES: ${JSON.stringify(join(directory, file))}`;
  expect(problem.slice(0, where.length)).toBe(where);
  expect(problem.slice(where.length)).toMatch(why);
});

test('a directory that is not there, and a language that there are no templates in, are refused', () => {
  const missing = join(tmpdir(), 'kith-no-templates');
  expect(problemsOf({ KITH_MAIL_TEMPLATES: missing })).toEqual([
    `KITH_MAIL_TEMPLATES: ${JSON.stringify(missing)} cannot be read: ENOENT`,
  ]);
  expect(problemsOf({ KITH_MAIL_LANGUAGE: 'fr' })).toEqual([
    'KITH_MAIL_LANGUAGE: "fr" is not allowed; it must be en, de, or a language in KITH_MAIL_TEMPLATES',
  ]);
});

test('HTML has no link where mails have none', () => {
  const directory = directoryOf({ 'en/password_reset.html': '{{code}}\n<a href="{{link}}">' });
  expect(problemsOf({ KITH_MAIL_TEMPLATES: directory, KITH_ACCOUNT: 'off' })).toEqual([
    expect.stringMatching(/password_reset\.html", line 2: \{\{link\}\}: there are no links in mails/),
  ]);
});

test('the contract lets a preview be asked for of every kind', () => {
  const rules = getOption(PreviewMailRequestSchema.field.kind, fieldRules);
  expect(rules.type.case === 'string' && rules.type.value.in).toEqual(MAIL_KINDS);
});

test('a preview shows the templates as they are after they were read again, and those of before where they cannot be used', async () => {
  const kind = 'email_taken';
  const directory = directoryOf({ 'fr/email_taken.txt': 'Subject: Avant\n\n{{service}}' });
  await using database = await databases[0]!.create();
  const env = { ...database.env, KITH_MAIL_TEMPLATES: directory, KITH_PORT: '0', KITH_LOG_LEVEL: 'silent' };
  const config = parseConfig(env);
  const server = await startServer(config, ADMIN_PASSWORD);
  onTestFinished(() => server.stop());
  const said: string[] = [];
  const reloads = new Reloads({ env, given: env, config, read: () => env, say: (line) => said.push(line) });
  reloads.onReload((settings) => server.reload(settings));

  const login = { identifier: 'admin', password: ADMIN_PASSWORD };
  const { accessToken } = await signedIn(createClient(AuthService, grpc(server.address)).login(login));
  const outbox = createClient(OutboxService, grpc(server.address, accessToken));
  const preview = (locale: string) => outbox.previewMail({ kind, locale });
  expect(await preview('fr-FR')).toMatchObject({
    language: 'fr',
    languages: ['de', 'en', 'fr'],
    subject: 'Avant',
    text: 'Kith\n',
  });
  expect((await outbox.previewMail({ kind: 'invitation' })).languages).toEqual(['de', 'en']);
  expect(await preview('it')).toMatchObject({ language: 'en', html: expect.stringContaining('<html lang="en">') });

  write(directory, { 'fr/email_taken.txt': 'Subject: {{nom}}\n\n{{service}}' });
  reloads.reload();
  expect((await preview('fr')).subject).toBe('Avant');
  expect(said.join()).toMatch(/goes on as it was.*\n.*email_taken\.txt", line 1: \{\{nom\}\} is not known/);
  write(directory, { 'fr/email_taken.txt': 'Subject: Après\n\n{{service}}' });
  reloads.reload();
  expect((await preview('fr')).subject).toBe('Après');
});
