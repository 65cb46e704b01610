import { mkdirSync, statSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Has Node keep what it compiles of this program in the user's folder for caches ($XDG_CACHE_HOME or ~/.cache), so that
 * the next start compiles nothing. Where that folder is not to be had, or is another user's, nothing is kept: whoever
 * writes there decides what runs here. NODE_COMPILE_CACHE names another folder, NODE_DISABLE_COMPILE_CACHE=1 keeps nothing.
 */
export function keepCompiledCode(): void {
  const { NODE_COMPILE_CACHE, XDG_CACHE_HOME } = process.env;
  if (NODE_COMPILE_CACHE !== undefined) return; // Node has seen it
  try {
    const directory = join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'kith/compiled');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(directory);
    if (uid === process.getuid?.() && (mode & 0o022) === 0) enableCompileCache(directory);
  } catch {
    // Every start compiles, then.
  }
}
