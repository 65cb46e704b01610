import { hotp, stepAt } from '../../src/identity/second-factor/totp.ts';

const STEP_MS = 30_000;

/** An authenticator app that read a QR code, on the clock of a server. */
export class Authenticator {
  readonly secret: Buffer;
  readonly #clock: { offsetMs: number };
  #newest = 0;

  constructor(uri: string, clock: { offsetMs: number }) {
    this.secret = fromBase32(new URL(uri).searchParams.get('secret') ?? '');
    this.#clock = clock;
  }

  /** The code so many steps from the present one. */
  code(away = 0): string {
    return hotp(this.secret, this.#present() + away);
  }

  /** A code that is good and that `next` did not give before. Lets time pass when the present ones are used up. */
  next(): string {
    this.#newest = Math.max(this.#newest + 1, this.#present());
    const early = this.#newest - 1 - this.#present();
    if (early > 0) this.#clock.offsetMs += early * STEP_MS;
    return hotp(this.secret, this.#newest);
  }

  /** Six digits that are no code of any time near. */
  wrong(): string {
    const near = new Set(Array.from({ length: 21 }, (_, i) => this.code(i - 10)));
    for (let i = 0; ; i++) {
      const code = String(i).padStart(6, '0');
      if (!near.has(code)) return code;
    }
  }

  #present(): number {
    return stepAt(Date.now() + this.#clock.offsetMs);
  }
}

/** RFC 4648, 6, without padding. */
function fromBase32(text: string): Buffer {
  const bits = Array.from(text, (c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0'));
  return Buffer.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}
