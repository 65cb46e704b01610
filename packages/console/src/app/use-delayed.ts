import { useEffect, useState } from 'react';

/** How long after the last key a search is sent, milliseconds. */
const TYPING_MS = 180;

/** The value that has stood still for a moment: one call for a word, and not one for each letter. */
export function useDelayed<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
