import { element } from './elements.ts';
import { reopen } from './fragment.ts';
import { language, saveLanguage, settings } from './settings.ts';
import { texts } from './texts.ts';

/** Where a person can go from a step: a page of these, or something to do. */
export interface Way {
  readonly label: string;
  readonly to: string | (() => void);
}

/** A step of what a person does here. */
export interface Step {
  readonly title: string;
  readonly lead?: string | undefined;
  /** What has been done before. */
  readonly notice?: string | undefined;
  readonly content: readonly Node[];
  readonly ways: readonly Way[];
}

const card = element('main', { class: 'card' });
/** Says to screen readers what the step is: it stays, since a region is only read out when it changes. */
const announcement = element('p', { class: 'hidden', role: 'status' });

/** Puts the card on the page. */
export function openCard(): void {
  document.documentElement.lang = language;
  const { service, logo = 'icon.svg' } = settings;
  const brand = element(
    'header',
    { class: 'brand' },
    element('img', { src: logo, alt: '', height: '28' }),
    element('span', {}, service),
  );
  const other = language === 'de' ? 'en' : 'de';
  const switchLanguage = () => {
    saveLanguage(other);
    reopen();
  };
  const footer = element(
    'footer',
    {},
    element('button', { class: 'link', type: 'button', lang: other, click: switchLanguage }, texts.otherLanguage),
  );
  document.getElementById('root')!.replaceChildren(brand, card, footer, announcement);
}

/** Shows one step in place of the one before. */
export function showStep({ title, lead, notice, content, ways }: Step): void {
  document.title = `${title} · ${settings.service}`;
  announcement.textContent = [notice, title].filter(Boolean).join(' ');
  card.removeAttribute('aria-busy');
  card.replaceChildren(
    element('h1', {}, title),
    ...(notice === undefined ? [] : [element('p', { class: 'notice' }, notice)]),
    ...(lead === undefined ? [] : [element('p', { class: 'lead' }, lead)]),
    ...content,
    ...(ways.length === 0 ? [] : [element('ul', { class: 'ways' }, ...ways.map(toItem))]),
  );
}

/** Says whether something is under way. */
export function setBusy(isBusy: boolean): void {
  if (isBusy) card.setAttribute('aria-busy', 'true');
  else card.removeAttribute('aria-busy');
}

function toItem({ label, to }: Way): HTMLLIElement {
  return element(
    'li',
    {},
    typeof to === 'string'
      ? element('a', { href: to }, label)
      : element('button', { class: 'link', type: 'button', click: to }, label),
  );
}
