/** Whether If-None-Match (RFC 9110, 13.1.2) names an entity tag: any, or a list of which one is the tag, weak or not. */
export function isNamed(etag: string, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch === undefined) return false;
  const tags: readonly string[] = ifNoneMatch.match(/"[^"]*"/g) ?? [];
  return tags.includes(etag) || ifNoneMatch.trim() === '*';
}
