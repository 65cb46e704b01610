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
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="sans-serif" font-size="12">`,
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
