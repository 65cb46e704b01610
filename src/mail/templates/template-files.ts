import { type Dir, opendirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalLocale } from '../../kernel/locale.ts';
import { builtInFiles } from './built-in.ts';
import { fileOf, isLanguage, problemsOf, type TemplateFiles } from './template.ts';

/** Larger than any mail should be: Gmail cuts HTML of more than 102 kB off. */
const FILE_BYTES_MAX = 128 * 1024;
const ALL_BYTES_MAX = 4 * 1024 * 1024;

/** How many names a directory may have, those included that are not read. */
const ENTRIES_MAX = 500;

/** A directory of templates that cannot be used; the message says what is wrong, a line each. */
export class TemplateFilesError extends Error {
  override readonly name = 'TemplateFilesError';
}

/**
 * Reads the templates of a directory, which has one for each language. Names that begin with a dot, and files that end
 * neither in .txt nor in .html, are passed over. Throws TemplateFilesError for all else that is no template of a kind
 * that there is, and for templates that cannot be used. `hasLinks`: whether mails have links.
 */
export function readTemplateFiles(directory: string, hasLinks: boolean): TemplateFiles {
  const problems: string[] = [];
  const files: Record<string, string> = {};
  let bytes = 0;
  const refuse = (path: string, why: string): void => {
    problems.push(`${JSON.stringify(join(directory, path))}${why}`);
  };
  for (const language of namesIn(directory, '', refuse)) {
    if (!isDirectory(join(directory, language))) continue;
    if (!isLanguage(language)) {
      refuse(language, ` is not named as a language, such as ${canonicalLocale(language) ?? 'pt-BR'}`);
      continue;
    }
    for (const name of namesIn(directory, language, refuse)) {
      if (!/\.(txt|html)$/.test(name)) continue;
      const path = `${language}/${name}`;
      const file = fileOf(path);
      const source = read(directory, path, refuse);
      if (file === undefined) refuse(path, ' is not named as a kind of mail');
      if (file === undefined || source === undefined) continue;
      bytes += source.length;
      if (bytes > ALL_BYTES_MAX)
        throw new TemplateFilesError(`${JSON.stringify(directory)} has more than ${ALL_BYTES_MAX} bytes of templates`);
      for (const problem of problemsOf(file, source, hasLinks)) refuse(path, `, ${problem}`);
      files[path] = source;
    }
  }
  for (const path of Object.keys(files).filter((each) => each.endsWith('.html'))) {
    const text = path.replace(/html$/, 'txt');
    if (files[text] === undefined && builtInFiles()[text] === undefined) {
      refuse(path, ` needs ${text.split('/')[1]} beside it, which has the subject and the text`);
    }
  }
  if (problems.length > 0) throw new TemplateFilesError(problems.join('\n'));
  return files;
}

type Refuse = (path: string, why: string) => void;

function namesIn(directory: string, path: string, refuse: Refuse): string[] {
  let opened: Dir;
  try {
    opened = opendirSync(join(directory, path));
  } catch (error) {
    refuse(path, ` cannot be read: ${codeOf(error)}`);
    return [];
  }
  try {
    const names: string[] = [];
    for (let entry = opened.readSync(); entry !== null; entry = opened.readSync()) {
      if (names.length === ENTRIES_MAX) {
        refuse(path, ` has more than ${ENTRIES_MAX} files`);
        return [];
      }
      names.push(entry.name);
    }
    return names.filter((name) => !name.startsWith('.')).toSorted();
  } finally {
    opened.closeSync();
  }
}

/** Links are followed: Kubernetes mounts files so. */
function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function read(directory: string, path: string, refuse: Refuse): string | undefined {
  try {
    const stats = statSync(join(directory, path));
    if (!stats.isFile()) refuse(path, ' is not a file');
    else if (stats.size > FILE_BYTES_MAX) refuse(path, ` is larger than ${FILE_BYTES_MAX} bytes`);
    else return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(join(directory, path)));
  } catch (error) {
    refuse(path, error instanceof TypeError ? ' is not UTF-8' : ` cannot be read: ${codeOf(error)}`);
  }
  return undefined;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
