import { protoInt64 } from '@bufbuild/protobuf';

/**
 * Thrown by compiled functions for whatever they were not made for: Protobuf-ES then does the work again, and says what is
 * wrong with it where something is. One error for all, since making one takes longer than reading a small message.
 */
export const UNUSUAL = new Error('left to Protobuf-ES');

/** Whether messages can be read and written by compiled functions here. */
export const canCompile = isLittleEndian() && hasBigInts() && mayCompile();

/**
 * Makes functions of a source that was written here from descriptors. What is in a descriptor stands in it as a number or
 * as a string literal that `quote` makes, never as code. `known` are the names that the source may use.
 */
export function compileSource(source: string, known: Readonly<Record<string, unknown>>): unknown {
  // oxlint-disable-next-line typescript/no-implied-eval -- what this package is for; nothing of it comes from outside
  const make = new Function(...Object.keys(known), `'use strict';\n${source}`) as (...values: unknown[]) => unknown;
  return make(...Object.values(known));
}

/** A string literal. */
export function quote(text: string): string {
  return JSON.stringify(text);
}

/** False where the runtime has been told to make no code of text, as by a Content Security Policy. */
function mayCompile(): boolean {
  try {
    return compileSource('return true;', {}) === true;
  } catch {
    return false;
  }
}

/** Numbers are read through typed arrays, which have the order of the processor. */
function isLittleEndian(): boolean {
  return new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
}

/** Protobuf-ES has strings in place of bigints where it is told so. */
function hasBigInts(): boolean {
  return protoInt64.supported;
}
