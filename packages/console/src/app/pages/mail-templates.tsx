import './mail-templates.css';
import { OutboxService } from '@kith/client/outbox';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { language } from '../../preferences.ts';
import { Permission, useMay, useService } from '../context.tsx';
import { AsCode } from '../parts/as-code.tsx';
import { Select } from '../parts/form.tsx';
import { MailFrame } from '../parts/mail-frame.tsx';
import { Failed, Skeleton } from '../parts/states.tsx';
import { Link, useQueryParameters } from '../router.tsx';
import { settingsTexts } from '../settings-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';

const LANGUAGE_NAMES = new Intl.DisplayNames(language, { type: 'language' });

/** What mails look like: one or all of them, in any language, light and dark, wide and narrow. The choice is in the address. */
export default function MailTemplates() {
  useTitle(t.mailTemplates);
  const mayReadServer = useMay(Permission.SERVER_READ);
  const [parameters, setParameters] = useQueryParameters();
  const read = (name: string) => parameters.get(name) ?? '';
  const outbox = useService(OutboxService, 'Mail');
  const kind = read('kind') in settingsTexts.kinds ? read('kind') : '';
  const kinds = kind === '' ? Object.keys(settingsTexts.kinds) : [kind];
  const locale = read('language');
  const width = read('width') in settingsTexts.widths ? read('width') : '';
  const { data, error, refetch } = useQuery({
    queryKey: ['mail-previews', kind, locale],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      Promise.all(
        kinds.map(async (each) => ({ ...(await outbox.preview({ kind: each, locale }, { signal })), kind: each })),
      ),
  });
  const loaded = data ?? [];
  const languages = new Set([...loaded.flatMap((each) => each.languages), ...(locale === '' ? [] : [locale])]);
  return (
    <>
      {mayReadServer && (
        <p>
          <Link to="settings">← {t.settings}</Link>
        </p>
      )}
      <div className="page-head">
        <h1>{t.mailTemplates}</h1>
        <AsCode call={() => ({ method: 'kith.mail.v1.OutboxService/PreviewMail', body: { kind: kinds[0], locale } })} />
      </div>
      <p className="muted">{settingsTexts.mailTemplatesLead}</p>
      <div className="mail-filters">
        <Select
          label={settingsTexts.mail}
          value={kind}
          options={[['', settingsTexts.allMails], ...Object.entries(settingsTexts.kinds)]}
          onChange={(chosen) => setParameters({ kind: chosen })}
        />
        <Select
          label={settingsTexts.mailLanguage}
          value={locale}
          options={[
            ['', settingsTexts.serverLanguage],
            ...[...languages].toSorted().map((tag) => [tag, languageName(tag)] as const),
          ]}
          onChange={(chosen) => setParameters({ language: chosen })}
        />
        <Select
          label={settingsTexts.mailColors}
          value={read('colors') === 'dark' ? 'dark' : ''}
          options={[
            ['', settingsTexts.light],
            ['dark', settingsTexts.dark],
          ]}
          onChange={(colors) => setParameters({ colors })}
        />
        <Select
          label={settingsTexts.width}
          value={width}
          options={Object.entries(settingsTexts.widths)}
          onChange={(chosen) => setParameters({ width: chosen })}
        />
        <Select
          label={settingsTexts.shown}
          value={read('as') === 'text' ? 'text' : ''}
          options={[
            ['', settingsTexts.html],
            ['text', settingsTexts.text],
          ]}
          onChange={(as) => setParameters({ as })}
        />
      </div>
      {error !== null ? (
        <Failed error={error} onRetry={() => void refetch()} />
      ) : data === undefined ? (
        <Skeleton rows={8} />
      ) : (
        <div className={width === '' ? 'mails' : 'mails narrow'}>
          {loaded.map((preview) => (
            <section key={preview.kind} className="card mail" aria-labelledby={`mail-${preview.kind}`}>
              <div className="mail-head">
                <h2 id={`mail-${preview.kind}`}>{settingsTexts.kinds[preview.kind]}</h2>
                <span className="muted">
                  <code>{preview.kind}</code> · {languageName(preview.language)}
                </span>
                <p>
                  <span className="muted">{settingsTexts.subject}: </span>
                  <span lang={preview.language}>{preview.subject}</span>
                </p>
              </div>
              {read('as') === 'text' ? (
                <pre className="mail-text" lang={preview.language}>
                  {preview.text}
                </pre>
              ) : (
                <MailFrame
                  html={preview.html}
                  title={settingsTexts.mailAs(settingsTexts.kinds[preview.kind] ?? preview.kind, settingsTexts.html)}
                  scheme={read('colors') === 'dark' ? 'dark' : 'light'}
                />
              )}
            </section>
          ))}
        </div>
      )}
    </>
  );
}

/** `de` as "German"; what is no tag, as somebody may have written it into the address, as it is. */
function languageName(tag: string): string {
  try {
    return LANGUAGE_NAMES.of(tag) ?? tag;
  } catch {
    return tag;
  }
}
