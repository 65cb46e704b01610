/** The names that are most like one that there is not, at most three, the nearest first. */
function similarNames(written: string, names: Iterable<string>): string[] {
  const wanted = written.toLowerCase();
  return [...names]
    .map((name) => ({ name, distance: distanceOf(wanted, name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.floor(Math.max(name.length, wanted.length) / 3)))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** `; did you mean a or b?`, or nothing. */
export function didYouMean(written: string, names: Iterable<string>): string {
  const similar = similarNames(written, names);
  return similar.length === 0 ? '' : `; did you mean ${similar.join(' or ')}?`;
}

/** How many letters have to be inserted, removed or replaced (Levenshtein); an end that is missing counts half of that. */
function distanceOf(a: string, b: string): number {
  if (a.length > 2 && b.includes(a)) return (b.length - a.length) / 8;
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
