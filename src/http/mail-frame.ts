import { createHash } from 'node:crypto';
import type { FramedPage } from './static-pages.ts';

/**
 * Draws the HTML that the page around the frame sends, and tells how high it is. What a mail may have and its readers'
 * programs do not follow is taken out: scripts, other bases, links to files, and refreshes, which would lead the frame away.
 *
 * The scheme is put into the mail: browsers let the page around a frame of another origin choose none. What the mail has for
 * both schemes is for the chosen one then, and its media queries that ask for a scheme have their answer.
 */
const SCRIPT = `
addEventListener('message', ({ source, data }) => {
  if (source !== parent) return;
  const { html, scheme } = data;
  const mail = new DOMParser().parseFromString(html, 'text/html');
  for (const element of mail.querySelectorAll('script, base, link, meta[http-equiv]')) element.remove();
  for (const meta of mail.querySelectorAll('meta[name="color-scheme"]')) meta.content = choose(meta.content, scheme);
  const root = document.adoptNode(mail.documentElement);
  document.documentElement.replaceWith(root);
  for (const sheet of document.styleSheets) choosePart(sheet, scheme);
  new ResizeObserver(() => parent.postMessage(root.getBoundingClientRect().height, '*')).observe(root);
});
for (const type of ['click', 'auxclick']) addEventListener(type, (event) => event.preventDefault(), true);

function choosePart(part, scheme) {
  if (part.media) {
    part.media.mediaText = part.media.mediaText.replace(/\\(prefers-color-scheme: (\\w+)\\)/g, (_, asked) =>
      asked === scheme ? '(min-width: 0px)' : '(max-width: 0px)',
    );
  }
  if (part.style?.colorScheme) part.style.colorScheme = choose(part.style.colorScheme, scheme);
  for (const rule of part.cssRules ?? []) choosePart(rule, scheme);
}

function choose(schemes, scheme) {
  return schemes.includes('light') && schemes.includes('dark') ? scheme : schemes;
}
`;

/**
 * The page in which the console shows the HTML of a mail, as it would be sent. It has a policy of its own, since one that
 * lets styles in is not for the console: inline styles and pictures that are written out, nothing from any host, no script
 * but the one above by its hash, and an origin of its own, from which there is no way to the console or its session
 * (docs/decisions/mail-previews.md).
 */
export const MAIL_FRAME: FramedPage = {
  html: `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mail</title><script>${SCRIPT}</script></head></html>\n`,
  headers: {
    'content-security-policy': [
      'sandbox allow-scripts',
      "default-src 'none'",
      `script-src 'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'`,
      "style-src 'unsafe-inline'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'self'",
    ].join('; '),
    'x-frame-options': 'SAMEORIGIN',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  },
};
