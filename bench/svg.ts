/** Bars that belong together. */
export interface BarGroup {
  readonly title: string;
  readonly bars: readonly { readonly name: string; readonly value: number; readonly isOurs: boolean }[];
}

const WIDTH = 860;
const LABEL = 300;
const ROW = 22;

/** Horizontal bars, each group to a scale of its own, as an SVG picture. */
export function drawBars(title: string, groups: readonly BarGroup[]): string {
  let y = 40;
  const parts: string[] = [];
  for (const group of groups) {
    parts.push(`<text x="16" y="${y + 16}" font-weight="bold">${escape(group.title)}</text>`);
    y += 26;
    const most = Math.max(...group.bars.map(({ value }) => value));
    for (const { name, value, isOurs } of group.bars) {
      const width = Math.max(1, (value / most) * (WIDTH - LABEL - 110));
      parts.push(
        `<text x="${LABEL - 8}" y="${y + 15}" text-anchor="end">${escape(name)}</text>`,
        `<rect x="${LABEL}" y="${y + 3}" width="${width.toFixed(1)}" height="16" fill="${isOurs ? '#2f6f4f' : '#9aa5a0'}"/>`,
        `<text x="${(LABEL + width + 6).toFixed(1)}" y="${y + 15}">${Math.round(value).toLocaleString('en')}</text>`,
      );
      y += ROW;
    }
    y += 12;
  }
  return picture(title, y, parts);
}

/** Curves that share axes. */
export interface CurveGroup {
  readonly title: string;
  /** Below the axis, at equal distances. */
  readonly steps: readonly string[];
  /** From 0; one value for each step. */
  readonly curves: readonly { readonly name: string; readonly values: readonly number[] }[];
}

const PLOT = { width: 360, height: 200 };
const COLOURS = ['#2f6f4f', '#b5651d', '#3b5b92', '#8a3b5b', '#6b6b2f', '#444444'];

/** Curves, each group to a scale of its own, with the last value beside each name. */
export function drawCurves(title: string, groups: readonly CurveGroup[]): string {
  let y = 48;
  const parts: string[] = [];
  for (const { title: name, steps, curves } of groups) {
    parts.push(`<text x="16" y="${y + 4}" font-weight="bold">${escape(name)}</text>`);
    const top = y + 16;
    const bottom = top + PLOT.height;
    const most = Math.max(...curves.flatMap(({ values }) => values));
    const at = (step: number, value: number) =>
      `${(70 + (step / (steps.length - 1)) * PLOT.width).toFixed(1)},${(bottom - (value / most) * PLOT.height).toFixed(1)}`;
    parts.push(
      `<path d="M70,${top} V${bottom} H${70 + PLOT.width}" fill="none" stroke="#9aa5a0"/>`,
      `<text x="64" y="${bottom + 4}" text-anchor="end">0</text>`,
      `<text x="64" y="${top + 8}" text-anchor="end">${most.toFixed(1)}</text>`,
    );
    for (const [i, step] of steps.entries()) {
      const [x] = at(i, 0).split(',');
      parts.push(`<text x="${x}" y="${bottom + 18}" text-anchor="middle">${escape(step)}</text>`);
    }
    for (const [i, curve] of curves.entries()) {
      const points = curve.values.map((value, step) => at(step, value)).join(' ');
      const legend = `${curve.name}: ${curve.values.at(-1)?.toFixed(1)}`;
      parts.push(
        `<polyline points="${points}" fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="2"/>`,
        `<text x="${90 + PLOT.width}" y="${top + 14 + i * ROW}" fill="${COLOURS[i % COLOURS.length]}">${escape(legend)}</text>`,
      );
    }
    y = bottom + 52;
  }
  return picture(title, y, parts);
}

function picture(title: string, height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="16" y="24" font-size="15" font-weight="bold">${escape(title)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
