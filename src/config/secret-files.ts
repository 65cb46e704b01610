import { readFileSync, statSync } from 'node:fs';

/** A file with a secret that cannot be used; the message names the setting and the file, never what it holds. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

/** More than any secret has, bytes. */
const BYTES_MAX = 16 * 1024;

/** The setting that names a file which holds the value of another setting. */
export function fileSettingOf(name: string): string {
  return `${name}_FILE`;
}

/**
 * The value of the setting `name` in the file at `path`, without the blanks and line
 * breaks around it. Throws SecretFileError for a file that cannot be read, is empty,
 * larger than 16 KiB or not UTF-8.
 */
export function writtenIn(name: string, path: string): string {
  const refuse = (why: string, cause?: unknown): never => {
    throw new SecretFileError(`${fileSettingOf(name)}: ${JSON.stringify(path)} ${why}`, { cause });
  };
  let bytes: Buffer;
  try {
    const stats = statSync(path.trim());
    if (!stats.isFile()) return refuse('is not a file');
    if (stats.size > BYTES_MAX) return refuse(`is larger than ${BYTES_MAX} bytes`);
    bytes = readFileSync(path.trim());
  } catch (error) {
    if (error instanceof SecretFileError) throw error;
    return refuse(
      `cannot be read: ${error instanceof Error && 'code' in error ? String(error.code) : 'unknown'}`,
      error,
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim();
  } catch (error) {
    return refuse('is not UTF-8', error);
  }
  return text === '' ? refuse('is empty') : text;
}
