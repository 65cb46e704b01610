import { ERROR_TEXTS as DE } from './error-texts/de.ts';
import { ERROR_TEXTS as EN } from './error-texts/en.ts';
import { type ErrorTexts, explainError, explainViolation, type Texts } from './error-texts/explain.ts';
import type { KithError, Violation } from './kith-error.ts';

/** The languages that there are texts in. */
export type Language = 'en' | 'de';

export type { Texts };

const LANGUAGES: Readonly<Record<Language, ErrorTexts>> = { en: EN, de: DE };

/** The texts of reasons that say more than their status code does. */
export const reasonTexts = { en: EN.reasons, de: DE.reasons };

/**
 * What to tell people of an error, as sentences: by its reason, or by its code if the reason has no text of its own or this
 * client does not know it. Says nothing of single fields: see {@link violationText}.
 */
export function errorText(error: KithError, language: Language = 'en', texts: Texts = {}): string {
  return explainError(error, LANGUAGES[language], texts);
}

/** What to tell people of a field that breaks a rule, to stand beside the field. */
export function violationText(violation: Violation, language: Language = 'en', texts: Texts = {}): string {
  return explainViolation(violation, LANGUAGES[language], texts);
}
