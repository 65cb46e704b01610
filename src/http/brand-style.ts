/** The surfaces that the color stands on, as the style sheet of packages/account has them, by scheme. */
const SURFACES = { light: ['#f6f6f9', '#ffffff'], dark: ['#121218', '#1b1b24'] } as const;

/** The least contrast of text (WCAG 2.2, 1.4.3). */
const CONTRAST_MIN = 4.5;

type Rgb = readonly [red: number, green: number, blue: number];

/**
 * A style sheet that gives the pages a color, `#rrggbb`: of buttons as it is, with white or black on it, whichever can be
 * read better; of links, as much darker or lighter as it takes to be read in each scheme.
 */
export function brandStyle(color: string): string {
  const accent = toRgb(color);
  const onAccent = contrast(accent, WHITE) >= CONTRAST_MIN ? WHITE : BLACK;
  const common = `--accent: ${color}; --on-accent: ${toHex(onAccent)}`;
  const link = { light: readable(accent, SURFACES.light, BLACK), dark: readable(accent, SURFACES.dark, WHITE) };
  // Twice the root: it counts more than the style sheet of the build, wherever that is linked.
  return [
    `:root:root { ${common}; --accent-text: ${toHex(link.light)}; }`,
    `@media (prefers-color-scheme: dark) { :root:root { --accent-text: ${toHex(link.dark)}; } }`,
    '',
  ].join('\n');
}

const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];

/** The color, mixed with as little of another as makes it readable on all of the surfaces. */
function readable(color: Rgb, surfaces: readonly string[], other: Rgb): Rgb {
  for (let percent = 0; percent <= 100; percent += 5) {
    const mixed = color.map((part, i) => Math.round(part + ((other[i]! - part) * percent) / 100)) as unknown as Rgb;
    if (surfaces.every((surface) => contrast(mixed, toRgb(surface)) >= CONTRAST_MIN)) return mixed;
  }
  return other;
}

/** The contrast ratio of two colors (WCAG 2.2), 1 to 21. */
function contrast(one: Rgb, other: Rgb): number {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].toSorted((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function luminance(color: Rgb): number {
  const [red = 0, green = 0, blue = 0] = color.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Of `#rrggbb`. */
function toRgb(hex: string): Rgb {
  const number = Number.parseInt(hex.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function toHex(color: Rgb): string {
  return `#${color.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}
