/**
 * Whether the page can do something. One that a browser has frozen, or keeps to go back to, would hold what the others need,
 * and gather what they tell.
 */
export function watchPage() {
  let isHidden = false;
  let hidden = (): void => {};
  let shown = (): void => {};
  const hide = () => {
    isHidden = true;
    hidden();
  };
  const show = () => {
    isHidden = false;
    shown();
  };
  const targets: readonly [EventTarget | undefined, string, () => void][] = [
    [globalThis.document, 'freeze', hide],
    [globalThis.document, 'resume', show],
    [globalThis.window, 'pagehide', hide],
    [globalThis.window, 'pageshow', show],
  ];
  for (const [target, name, listener] of targets) target?.addEventListener(name, listener);
  return {
    onHidden(listener: () => void): void {
      hidden = listener;
      if (isHidden) listener();
    },
    async shown(signal: AbortSignal | undefined): Promise<void> {
      if (!isHidden) return;
      await new Promise<void>((resolve) => {
        shown = resolve;
        signal?.addEventListener('abort', () => resolve(), { once: true });
      });
    },
    close(): void {
      for (const [target, name, listener] of targets) target?.removeEventListener(name, listener);
    },
  };
}
