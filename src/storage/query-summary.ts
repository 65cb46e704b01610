/** How many texts are cached. A statement for a list of values has one text for each length. */
const KNOWN_MAX = 1000;

/** As https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query has it. */
const SUMMARY_MAX = 255;

const NAME = String.raw`"?(\w+)"?`;

/** An operation with its table, or a table by itself; `do update` and `for update` are parts of other operations. */
const PARTS = new RegExp(
  String.raw`\b(?:(select)|(insert) into ${NAME}|(delete) from ${NAME}|(?<!\b(?:do|for) )(update) ${NAME}|(?:from|join) ${NAME})\b`,
  'gi',
);

const known = new Map<string, string>();

/**
 * What a statement does, and to which tables: `select users`. A name for the statement that holds no values, and of
 * which there are few (OpenTelemetry's db.query.summary).
 */
export function summarizeQuery(sql: string): string {
  const found = known.get(sql);
  if (found !== undefined) return found;
  const parts = [...sql.matchAll(PARTS)].flatMap(([, ...words]) => words.filter((word) => word !== undefined));
  const [first = ''] = /^\s*\w+/.exec(sql) ?? [];
  const summary = cut(parts.length === 0 ? first.trim() : parts.join(' '));
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(sql, summary);
  return summary;
}

/** Cuts between two words. */
function cut(summary: string): string {
  return summary.length <= SUMMARY_MAX ? summary : summary.slice(0, summary.lastIndexOf(' ', SUMMARY_MAX));
}
