/** The most code points of a web address, as in the contract. */
const LENGTH_MAX = 2048;

/** A web address as it is kept: one that pages may turn into a link, or a text that they must not. */
export type WebAddressText =
  | { readonly url: string; readonly text?: undefined }
  | { readonly url: ''; readonly text: string };

/**
 * What somebody wrote in place of a web address. An http or https URL with a host stays as it is, with what no URL
 * contains escaped; a host without a scheme becomes https; everything else is a text.
 */
export function readWebAddress(written: string): WebAddressText {
  const url = toUrl(written);
  return url === undefined || Array.from(url).length > LENGTH_MAX ? { url: '', text: written } : { url };
}

function toUrl(written: string): string | undefined {
  const candidate = withScheme(written);
  // A parser of URLs takes "https:///a" and "https:a" for hosts: nobody who reads that sees one.
  if (candidate === undefined || !/^https?:\/\/[^/?#\\]/i.test(candidate)) return undefined;
  const parsed = URL.parse(candidate);
  if (parsed === null || parsed.hostname === '') return undefined;
  return /[\s"<>\\^`{|}]/u.test(candidate) ? parsed.href : candidate;
}

function withScheme(written: string): string | undefined {
  if (/^https?:/i.test(written)) return written;
  if (written.startsWith('//')) return `https:${written}`;
  return isHostFirst(written) ? `https://${written}` : undefined;
}

/** Whether a text begins with a host and goes on as URLs do: "example.com:8080/a". Not "a.b@example.com" nor "e.g. this". */
function isHostFirst(written: string): boolean {
  return /^[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}-]*\.)+[\p{L}\p{M}\p{N}-]*[\p{L}\p{M}]\.?(?::\d{1,5})?(?:[/?#].*)?$/u.test(
    written,
  );
}
