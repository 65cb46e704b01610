import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { SECRET_BYTES } from './keyring.ts';

/** The secret of the installation is missing, cannot be read, or belongs to another installation; the message is for the operator. */
export class SecretKeyError extends Error {
  override readonly name = 'SecretKeyError';
}

/**
 * Reads the secret of the installation from the file beside the database. If the file is
 * missing and `mayCreate`, it creates one with mode 0600. Throws SecretKeyError if there is
 * no secret, or it cannot be read.
 */
export function loadSecretKey(path: string | undefined, mayCreate: boolean): Uint8Array {
  if (path === undefined) {
    throw new SecretKeyError('KITH_SECRET_KEY must be set: all instances share the database and the secret');
  }
  if (!existsSync(path)) {
    if (!mayCreate) {
      throw new SecretKeyError(
        `${path} is missing, which the database was made with: restore it, or set KITH_SECRET_KEY`,
      );
    }
    usable(path, () => createKeyFile(path));
  }
  const bytes = Buffer.from(
    usable(path, () => readFileSync(path, 'utf8')),
    'base64',
  );
  if (bytes.length !== SECRET_BYTES) {
    throw new SecretKeyError(`${path} must hold ${SECRET_BYTES} bytes in base64: restore it`);
  }
  return bytes;
}

function usable<T>(path: string, access: () => T): T {
  try {
    return access();
  } catch (error) {
    throw new SecretKeyError(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Makes the file whole or not at all, and leaves the one that another process made meanwhile. */
function createKeyFile(path: string): void {
  const draft = `${path}.${randomUUID()}`;
  try {
    writeFileSync(draft, `${randomBytes(SECRET_BYTES).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(draft, path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
