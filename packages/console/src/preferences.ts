import type { Language } from '@kith/client/session';
import { ownLocale } from './locale.ts';

/** How a person wants to see the console, kept in this browser. */
export type Scheme = 'system' | 'light' | 'dark';

const LANGUAGE = 'kith.language';
const SCHEME = 'kith.scheme';

/** The chosen language, or the first of the browser's that there are texts in. */
export const language: Language = readLanguage();

/** How dates are written: as where the reader is. */
export const locale = ownLocale(language, navigator.languages);

function readLanguage(): Language {
  const wanted = [localStorage.getItem(LANGUAGE), ...navigator.languages];
  const found = wanted.map((tag) => tag?.slice(0, 2).toLowerCase()).find((tag) => tag === 'de' || tag === 'en');
  return found === 'de' ? 'de' : 'en';
}

/** Chooses a language and loads the page again in it. */
export function chooseLanguage(chosen: Language): void {
  localStorage.setItem(LANGUAGE, chosen);
  location.reload();
}

export function readScheme(): Scheme {
  const scheme = localStorage.getItem(SCHEME);
  return scheme === 'light' || scheme === 'dark' ? scheme : 'system';
}

export function chooseScheme(scheme: Scheme): void {
  localStorage.setItem(SCHEME, scheme);
  applyPreferences();
}

/** Puts the language and the scheme where style sheets and screen readers find them. */
export function applyPreferences(): void {
  const root = document.documentElement;
  root.lang = language;
  const scheme = readScheme();
  if (scheme === 'system') delete root.dataset['scheme'];
  else root.dataset['scheme'] = scheme;
}
