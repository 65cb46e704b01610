import { type AnchorHTMLAttributes, type MouseEvent, useMemo, useSyncExternalStore } from 'react';

/** The path of the console itself, with a slash at the end: the page says it. */
const BASE = new URL(document.baseURI).pathname;

const listeners = new Set<() => void>();
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  addEventListener('popstate', listener);
  return () => {
    listeners.delete(listener);
    removeEventListener('popstate', listener);
  };
};

/** The address of a view, such as `users/1?tab=keys`, as a path of the server. */
function hrefOf(view: string): string {
  return BASE + view;
}

/** Shows another view. `replace`: without a step in the history, as for a filter that is typed. */
export function navigate(view: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  if (replace) history.replaceState(null, '', hrefOf(view));
  else {
    history.pushState(null, '', hrefOf(view));
    scrollTo(0, 0);
  }
  for (const listener of listeners) listener();
}

/** The path of the view that is shown, in parts: `['users', '1']`. */
export function usePath(): readonly string[] {
  const path = useSyncExternalStore(subscribe, () => location.pathname);
  return useMemo(() => path.slice(BASE.length).split('/').filter(Boolean).map(decodeURIComponent), [path]);
}

/** What is after the `?` of the address, and a function that changes it: parameters that are empty are left out. */
export function useQueryParameters(): [URLSearchParams, (changes: Readonly<Record<string, string>>) => void] {
  const search = useSyncExternalStore(subscribe, () => location.search);
  const parameters = useMemo(() => new URLSearchParams(search), [search]);
  return [
    parameters,
    (changes) => {
      const next = new URLSearchParams(location.search);
      for (const [name, value] of Object.entries(changes)) {
        if (value === '') next.delete(name);
        else next.set(name, value);
      }
      const written = next.toString();
      navigate(location.pathname.slice(BASE.length) + (written === '' ? '' : `?${written}`), { replace: true });
    },
  ];
}

/** A link to a view. With a modifier key, or the middle button, it opens as every link does. */
export function Link({ to, ...rest }: { readonly to: string } & AnchorHTMLAttributes<HTMLAnchorElement>) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={hrefOf(to)} onClick={follow} {...rest}>
      {rest.children}
    </a>
  );
}
