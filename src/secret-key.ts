import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { SECRET_BYTES } from './keyring.ts';

/** The secret of the installation cannot be had, or is another one's; the message is for the operator. */
export class SecretKeyError extends Error {
  override readonly name = 'SecretKeyError';
}

/**
 * Reads the secret of the installation from a file, which is made with mode 0600
 * when it is missing and `mayCreate`. Throws SecretKeyError when there is none.
 */
export function loadSecretKey(path: string, mayCreate: boolean): Uint8Array {
  if (!existsSync(path)) {
    if (!mayCreate) {
      throw new SecretKeyError(
        `${path} is missing, which the database was made with: restore it, or set KITH_SECRET_KEY`,
      );
    }
    writeFileSync(path, `${randomBytes(SECRET_BYTES).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true });
  }
  const bytes = Buffer.from(readFileSync(path, 'utf8'), 'base64');
  if (bytes.length !== SECRET_BYTES) {
    throw new SecretKeyError(`${path} must hold ${SECRET_BYTES} bytes in base64: restore it`);
  }
  return bytes;
}
