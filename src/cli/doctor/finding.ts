/** What a check found out. */
export interface Finding {
  readonly status: 'ok' | 'warning' | 'error';
  /** What was looked at, in a word or two. */
  readonly name: string;
  readonly text: string;
  /** What to do about it. */
  readonly advice?: string;
}

export function ok(name: string, text: string): Finding {
  return { status: 'ok', name, text };
}

export function warning(name: string, text: string, advice: string): Finding {
  return { status: 'warning', name, text, advice };
}

export function fault(name: string, text: string, advice: string): Finding {
  return { status: 'error', name, text, advice };
}

/** Certificates that expire within this time should be on their way to be replaced, days. */
const CERTIFICATE_DAYS = 14;

/** What is to be said of the time that a certificate is valid. */
export function certificateFinding(name: string, validFromMs: number, validToMs: number, nowMs: number): Finding {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (nowMs < validFromMs)
    return fault(
      name,
      `the certificate is valid from ${day(validFromMs)} on`,
      'Set the clock of this machine, or get another certificate.',
    );
  if (nowMs > validToMs)
    return fault(
      name,
      `the certificate expired on ${day(validToMs)}`,
      'Replace it; SIGHUP has a running server read it.',
    );
  const days = Math.floor((validToMs - nowMs) / 86_400_000);
  return days < CERTIFICATE_DAYS
    ? warning(
        name,
        `the certificate expires in ${days} days, on ${day(validToMs)}`,
        'Replace it; SIGHUP has a running server read it.',
      )
    : ok(name, `the certificate is valid until ${day(validToMs)}`);
}
