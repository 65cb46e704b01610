import { safeText } from './safe-text.ts';
import { fitText, textWidth } from './text-width.ts';

/** A column of a table. */
export interface Column {
  readonly title: string;
  /** Whether its values are of no use when they are cut: ids. */
  readonly whole?: boolean;
}

const GAP = '  ';
/** Narrower than this, a column is left out rather than cut further. */
const COLUMN_MIN = 10;

/**
 * Lines of a table, the titles first. With `width`, the columns of a terminal, long values are cut so that each line fits,
 * and the last columns are left out where that is not enough. Without it nothing is cut.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(safeText))];
  const natural = columns.map((_, i) => cells.reduce((widest, row) => Math.max(widest, textWidth(row[i] ?? '')), 0));
  const widths = width === undefined ? natural : fitWidths(columns, natural, width);
  return cells.map((row) =>
    widths
      .map((columnWidth, i) => {
        const text = fitText(row[i] ?? '', columnWidth);
        return text + ' '.repeat(columnWidth - textWidth(text));
      })
      .join(GAP)
      .trimEnd(),
  );
}

/** The widths of the columns that are shown. */
function fitWidths(columns: readonly Column[], natural: readonly number[], width: number): readonly number[] {
  const least = columns.map(({ whole }, i) => (whole ? natural[i]! : Math.min(natural[i]!, COLUMN_MIN)));
  let count = columns.length;
  while (count > 1 && totalOf(least.slice(0, count)) > width) count -= 1;
  const widths = natural.slice(0, count);
  // The widest column that may be cut gives way, a character at a time.
  while (totalOf(widths) > width) {
    let widest = -1;
    for (let i = 0; i < count; i++) {
      if (widths[i]! > least[i]! && (widest === -1 || widths[i]! > widths[widest]!)) widest = i;
    }
    if (widest === -1) break;
    widths[widest]! -= 1;
  }
  return widths;
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
}
