/**
 * For whom this browser has asked for a code, for as long as the code is good. The link of a mail has a code and no address.
 * The person who asked need not type the address again; whoever else opens the link, such as a scanner of mails that fills
 * forms in and clicks on what it finds, would have to know it.
 */
interface Asked {
  readonly identifier: string;
  readonly untilMs: number;
}

const CODE_MS = 10 * 60_000;

type Purpose = 'reset-password' | 'sign-up';

export function rememberAsked(purpose: Purpose, identifier: string): void {
  const asked: Asked = { identifier, untilMs: Date.now() + CODE_MS };
  localStorage.setItem(keyOf(purpose), JSON.stringify(asked));
}

/** The username or email address; empty for none. */
export function askedFor(purpose: Purpose): string {
  try {
    const { identifier, untilMs } = JSON.parse(localStorage.getItem(keyOf(purpose)) ?? '{}') as Partial<Asked>;
    if (typeof identifier === 'string' && typeof untilMs === 'number' && Date.now() < untilMs) return identifier;
  } catch {
    // What is there was not written here.
  }
  forgetAsked(purpose);
  return '';
}

export function forgetAsked(purpose: Purpose): void {
  localStorage.removeItem(keyOf(purpose));
}

function keyOf(purpose: Purpose): string {
  return `kith.asked.${purpose}`;
}
