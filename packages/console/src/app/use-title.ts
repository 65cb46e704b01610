import { useEffect } from 'react';

/** Names the page where tabs, the history and screen readers show it. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Kith`;
  }, [title]);
}
