/** What the server says in the page (src/http/account.ts). */
const { service = 'Kith', signUp = 'closed', loginCodes, logo, home } = document.documentElement.dataset;

/** What the operator has set. */
export const settings = { service, signUp, logo, home, loginCodes: loginCodes !== undefined };

export type Language = 'en' | 'de';

const LANGUAGE = 'kith.language';

/** The language that was chosen here or in the console, or the first of the browser's that there are texts in. */
export const language: Language = readLanguage();

function readLanguage(): Language {
  const wanted = [localStorage.getItem(LANGUAGE), ...navigator.languages];
  const found = wanted.map((tag) => tag?.slice(0, 2).toLowerCase()).find((tag) => tag === 'de' || tag === 'en');
  return found === 'de' ? 'de' : 'en';
}

/** Chooses a language for the next time that the page is loaded. */
export function saveLanguage(chosen: Language): void {
  localStorage.setItem(LANGUAGE, chosen);
}
