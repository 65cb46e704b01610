import './settings.css';
import { AdminService, type Setting, SettingSource } from '@kith/client/admin';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { language } from '../../preferences.ts';
import { Permission, useMay, useService } from '../context.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Checkbox } from '../parts/form.tsx';
import { Empty, Failed, Skeleton } from '../parts/states.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { readableValue } from '../setting-values.ts';
import { settingsTexts } from '../settings-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

/** What the server goes by: every setting with its value and where it comes from. What is looked for is in the address. */
export default function Settings() {
  useTitle(t.settings);
  const admin = useService(AdminService, 'Admin');
  const { data, error, refetch } = useQuery({
    queryKey: ['settings'],
    queryFn: ({ signal }) => admin.getSettings({}, { signal }),
  });
  return (
    <>
      <div className="page-head">
        <h1>{t.settings}</h1>
        <AsCode call={() => ({ method: 'kith.admin.v1.AdminService/GetSettings', body: {} })} />
        <Pages />
      </div>
      <p className="muted">{withCode(settingsTexts.settingsLead)}</p>
      {error !== null ? (
        <Failed error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Skeleton rows={10} />
      ) : (
        <>
          <SignUp settings={data.settings} />
          <SettingList settings={data.settings} />
          {data.process !== undefined && (
            <p className="muted">
              {settingsTexts.toldBy(data.process.hostname, data.process.pid)}
              {data.process.worker > 0 && ` ${settingsTexts.worker(data.process.worker)}`}
            </p>
          )}
        </>
      )}
    </>
  );
}

/** The pages on which admins look after what has no settings. */
function Pages() {
  const mayReadMails = useMay(Permission.CREDENTIALS_READ);
  return (
    <div className="actions">
      {mayReadMails && (
        <>
          <Link to="outbox" className="button">
            {t.outbox}
          </Link>
          <Link to="settings/mail" className="button">
            {t.mailTemplates}
          </Link>
        </>
      )}
      <Link to="account" className="button">
        {settingsTexts.ownKeys}
      </Link>
    </div>
  );
}

/** Who may become a user, in sentences. */
function SignUp({ settings }: { readonly settings: readonly Setting[] }) {
  const mayInvite = useMay(Permission.USERS_WRITE);
  const valueOf = (name: string) => settings.find((setting) => setting.name === name)?.value ?? '';
  const domains = valueOf('KITH_SIGN_UP_DOMAINS').split(',').filter(Boolean);
  const policy = valueOf('KITH_SIGN_UP');
  return (
    <section className="card pad sign-up-rules" aria-labelledby="sign-up">
      <h2 id="sign-up">{settingsTexts.whoSignsUp}</h2>
      <p>{settingsTexts.policies[policy] ?? policy}</p>
      {policy !== 'closed' && (
        <p>{domains.length === 0 ? settingsTexts.anyDomain : settingsTexts.onlyDomains(domains.join(', '))}</p>
      )}
      <p className="muted">
        {valueOf('KITH_LOGIN_CODES') === 'true' ? settingsTexts.loginCodesOn : settingsTexts.loginCodesOff}
      </p>
      <div className="actions">
        {mayInvite && (
          <Link to="users/invitations" className="button">
            {t.invitations}
          </Link>
        )}
        <Link to="settings?q=sign_up">{settingsTexts.signUpSettings}</Link>
      </div>
    </section>
  );
}

/** Whether a setting is other than without being written. What a secret is nobody can tell: it is by being set. */
const isChanged = ({ source, isSecret, value, defaultValue }: Setting): boolean =>
  source !== SettingSource.DEFAULT && (isSecret || value !== defaultValue);

function SettingList({ settings }: { readonly settings: readonly Setting[] }) {
  const [parameters, setParameters] = useQueryParameters();
  const query = parameters.get('q') ?? '';
  const isOnlyChanged = parameters.get('changed') === '1';
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = settings.filter((setting) => {
    const text = [setting.name, helpOf(setting).text, setting.value, settingsTexts.sections[setting.section]]
      .join(' ')
      .toLowerCase();
    return (!isOnlyChanged || isChanged(setting)) && words.every((word) => text.includes(word));
  });
  return (
    <>
      <div className="filters">
        <input
          type="search"
          aria-label={settingsTexts.settingsSearch}
          placeholder={settingsTexts.settingsSearch}
          data-shortcut="search"
          maxLength={100}
          value={query}
          onChange={({ target }) => setParameters({ q: target.value })}
        />
        <Checkbox
          label={settingsTexts.onlyChanged}
          checked={isOnlyChanged}
          onChange={(checked) => setParameters({ changed: checked ? '1' : '' })}
        />
        <span className="muted" role="status">
          {settingsTexts.shownOf(shown.length, settings.length)}
        </span>
      </div>
      {shown.length === 0 && <Empty title={settingsTexts.noSettings} lead={settingsTexts.noSettingsLead} />}
      {[...Map.groupBy(shown, ({ section }) => section)].map(([section, of]) => (
        <section key={section} className="card" aria-labelledby={`section-${section}`}>
          <div className="card-head">
            <h2 id={`section-${section}`}>{settingsTexts.sections[section] ?? settingsTexts.otherSettings}</h2>
          </div>
          <ul className="settings">
            {of.map((setting) => (
              <SettingRow key={setting.name} setting={setting} />
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}

function SettingRow({ setting }: { readonly setting: Setting }) {
  const { name, source, filePath, defaultValue } = setting;
  const help = helpOf(setting);
  const allowed = allowedOf(setting);
  return (
    <li className="setting">
      <div>
        <h3>
          <code>{name}</code>
        </h3>
        <p lang={help.lang}>{withCode(help.text)}</p>
        <p className="muted small">
          {settingsTexts.allowed}: <span lang={allowed.lang}>{allowed.text}</span>
        </p>
      </div>
      <div>
        <p className="setting-value">
          <Value setting={setting} />
          <span className={isChanged(setting) ? 'badge good' : 'badge'}>
            {settingsTexts.sources[source] ?? t.unknown}
          </span>
        </p>
        {filePath !== '' && (
          <p className="muted small">
            {settingsTexts.inFile} <code>{filePath}</code>
          </p>
        )}
        {isChanged(setting) && defaultValue !== '' && (
          <p className="muted small">
            {settingsTexts.defaultIs} <Written name={name} value={defaultValue} />
          </p>
        )}
      </div>
    </li>
  );
}

function Value({ setting: { name, isSecret, source, value } }: { readonly setting: Setting }) {
  if (isSecret && source !== SettingSource.DEFAULT) return <span>{settingsTexts.isSet}</span>;
  if (value === '') return <span className="muted">{settingsTexts.notSet}</span>;
  return <Written name={name} value={value} />;
}

/** A value as it is written, and what it means to people. */
function Written({ name, value }: { readonly name: string; readonly value: string }) {
  const readable = readableValue(name, value, language);
  return (
    <>
      <code>{value}</code>
      {readable !== undefined && <span> {readable}</span>}
    </>
  );
}

interface Told {
  readonly text: string;
  /** Of a text that is in another language than the page: of a setting that the console does not know yet. */
  readonly lang: 'en' | undefined;
}

const told = (own: string | undefined, theirs: string): Told =>
  own === undefined ? { text: theirs, lang: language === 'en' ? undefined : 'en' } : { text: own, lang: undefined };

const helpOf = ({ name, help }: Setting): Told => told(settingsTexts.help[name], help);

function allowedOf({ name, allowed }: Setting): Told {
  const range = /^a whole number from (\d+) to (\d+)$/.exec(allowed);
  if (range === null) return told(settingsTexts.allowedOf[name], allowed);
  const [, least = '', most = ''] = range;
  const text = (value: string) => readableValue(name, value, language) ?? value;
  return { text: settingsTexts.range(text(least), text(most)), lang: undefined };
}

/** A text with what stands between ` as code. */
function withCode(text: string): ReactNode {
  return text.split('`').map((part, i) => (i % 2 === 0 ? part : <code key={part}>{part}</code>));
}
