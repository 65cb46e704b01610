import { useEffect, useRef } from 'react';
import { fieldTexts } from '../field-texts.ts';
import { blank, COLUMNS, type Column, type Entered, HAVE_PRIMARY, isBlank, type ListName } from '../form-lists.ts';
import { contactTexts } from '../contact-texts.ts';
import { DateField } from './date-field.tsx';
import { Field, TextArea } from './form.tsx';

/** An entry of a list while it is edited. */
export interface Line extends Entered {
  readonly key: number;
}

/** As many as a list may have. */
const LINES_MAX = 20;

let lastKey = 0;
export const linesOf = (entries: readonly Entered[]): readonly Line[] =>
  entries.map((entry) => ({ ...entry, key: ++lastKey }));

export interface LinesProps {
  readonly name: ListName;
  readonly lines: readonly Line[];
  readonly onChange: (lines: readonly Line[]) => void;
  /** By the name of the field in a creation: `emails[1].address`. */
  readonly errors: ReadonlyMap<string, string>;
}

/** The entries of a list, each with its parts, to be added to and removed from. */
export function Lines({ name, lines, onChange, errors }: LinesProps) {
  const title = fieldTexts[name];
  const columns: readonly Column[] = COLUMNS[name];
  const group = useRef<HTMLFieldSetElement>(null);
  // The line that was added by its button, which then has the focus.
  const added = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (added.current === undefined) return;
    group.current?.querySelector<HTMLElement>(`[data-line="${added.current}"] :is(input, textarea)`)?.focus();
    added.current = undefined;
  }, [lines]);
  const change = (key: number, changed: Partial<Entered>) =>
    onChange(lines.map((line) => (line.key === key ? { ...line, ...changed } : line)));
  const add = () => {
    const [line] = linesOf([blank(name)]);
    added.current = line!.key;
    onChange([...lines, line!]);
  };
  const errorOfList = errors.get(name);
  return (
    <fieldset className="lines" ref={group}>
      <legend>{title}</legend>
      {errorOfList !== undefined && <span className="error bad-text">{errorOfList}</span>}
      {lines.map((line, i) => {
        // Lines that are blank are not sent.
        const place = `${name}[${lines.slice(0, i).filter((each) => !isBlank(each)).length}]`;
        const errorOf = (column: Column, at: number) => {
          if (isBlank(line)) return undefined;
          const own = [...errors].find(
            ([field]) => field === `${place}.${column.name}` || field.startsWith(`${place}.${column.name}.`),
          );
          return own?.[1] ?? (at === 0 ? errors.get(place) : undefined);
        };
        const first = line.values[columns[0]!.name] ?? '';
        return (
          <div key={line.key} className={`line ${name}`} data-line={line.key}>
            {columns.map((column, at) => {
              const props = {
                label: column.label || title,
                error: errorOf(column, at),
                value: line.values[column.name] ?? '',
                onChange: (value: string) => change(line.key, { values: { ...line.values, [column.name]: value } }),
              };
              if (column.control === 'date') return <DateField key={column.name} {...props} />;
              if (column.control === 'lines') return <TextArea key={column.name} rows={2} {...props} />;
              return <Field key={column.name} {...props} {...(column.inputMode && { inputMode: column.inputMode })} />;
            })}
            <button
              type="button"
              className="icon-button"
              aria-label={`${contactTexts.remove}: ${first || title}`}
              onClick={() => onChange(lines.filter(({ key }) => key !== line.key))}
            >
              ×
            </button>
            {HAVE_PRIMARY.has(name) && lines.length > 1 && (
              <label className="checkbox primary">
                <input
                  type="radio"
                  name={`primary-${name}`}
                  // Without one, the server takes the first.
                  checked={line.primary || (i === 0 && !lines.some(({ primary }) => primary))}
                  onChange={() => onChange(lines.map((each) => ({ ...each, primary: each.key === line.key })))}
                />
                {fieldTexts.form.first}
              </label>
            )}
          </div>
        );
      })}
      {lines.length < LINES_MAX && (
        <button type="button" className="link" aria-label={`${contactTexts.add}: ${title}`} onClick={add}>
          {contactTexts.add}
        </button>
      )}
    </fieldset>
  );
}
