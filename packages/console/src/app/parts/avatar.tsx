/** The first letters of a name, on one of some colors: pictures are on other hosts, which the page does not ask. */
export function Avatar({ name, isLarge = false }: { readonly name: string; readonly isLarge?: boolean }) {
  const words = name.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : '']
    .map((word) => Array.from(word ?? '')[0] ?? '')
    .join('');
  const tone = Array.from(name).reduce((sum, letter) => sum + (letter.codePointAt(0) ?? 0), 0) % 6;
  return (
    <span className={`avatar tone-${tone}${isLarge ? ' large' : ''}`} aria-hidden="true">
      {letters.toUpperCase()}
    </span>
  );
}
