import { useEffect, useEffectEvent } from 'react';
import { navigate } from './router.tsx';

/** Shortcuts of one key can be in the way of speech input, so they can be turned off (WCAG 2.2, 2.1.4). */
const OFF = 'kith.shortcuts';

export const areShortcutsOn = (): boolean => localStorage.getItem(OFF) !== 'off';

export function turnShortcuts(on: boolean): void {
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, 'off');
}

const SECTIONS: Readonly<Record<string, string>> = {
  o: '',
  u: 'users',
  a: 'activity',
  c: 'contacts',
  s: 'settings',
  m: 'account',
};

/** How long after `g` the second key may come, milliseconds. */
const SECOND_KEY_MS = 1500;

export function useShortcuts(shown: { readonly onPalette: () => void; readonly onShortcuts: () => void }): void {
  const onKey = useEffectEvent((event: KeyboardEvent, isAfterG: boolean) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      shown.onPalette();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !areShortcutsOn() || isTyping(event.target)) return;
    const section = isAfterG ? SECTIONS[event.key] : undefined;
    if (section !== undefined) navigate(section);
    else if (event.key === '?') shown.onShortcuts();
    else if (event.key === '/') focusOn('[data-shortcut="search"]', event);
    else if (event.key === 'n') document.querySelector<HTMLElement>('[data-shortcut="create"]')?.click();
    else if (/^[a-z]$/.test(event.key))
      document.querySelector<HTMLElement>(`[aria-keyshortcuts="${event.key}"]`)?.click();
  });
  useEffect(() => {
    let afterGMs = -Infinity;
    const listener = (event: KeyboardEvent) => {
      onKey(event, performance.now() - afterGMs < SECOND_KEY_MS);
      afterGMs = event.key === 'g' && !isTyping(event.target) ? performance.now() : -Infinity;
    };
    addEventListener('keydown', listener);
    return () => removeEventListener('keydown', listener);
  }, []);
}

function focusOn(selector: string, event: KeyboardEvent): void {
  const found = document.querySelector<HTMLElement>(selector);
  if (found === null) return;
  event.preventDefault();
  found.focus();
}

function isTyping(target: EventTarget | null): boolean {
  const typing = 'input:not([type="radio"], [type="checkbox"]), textarea, select, dialog';
  return target instanceof HTMLElement && target.closest(typing) !== null;
}
