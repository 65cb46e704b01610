import './conflict.css';
import { t } from '../texts.ts';

/** A version of what a form has, by the names of its fields. */
export type Values<Name extends string> = Readonly<Record<Name, string>>;

export interface Versions<Name extends string> {
  readonly before: Values<Name>;
  readonly theirs: Values<Name>;
  readonly mine: Values<Name>;
}

/** What a form goes on with when somebody else has saved: theirs, but for what was changed here. */
export function mergeVersions<Name extends string>({ before, theirs, mine }: Versions<Name>): Values<Name> {
  const merged = Object.entries<string>(mine).map(([name, value]) => [
    name,
    value === before[name as Name] ? theirs[name as Name] : value,
  ]);
  return Object.fromEntries(merged) as Values<Name>;
}

interface ConflictProps<Name extends string> {
  readonly versions: Versions<Name>;
  readonly entered: Values<Name>;
  readonly labelOf: (name: Name) => string;
  readonly shown: (name: Name, value: string) => string;
  readonly onChoose: (name: Name, value: string) => void;
}

/** The three versions of what differs, to choose from field by field. */
export function Conflict<Name extends string>(props: ConflictProps<Name>) {
  const {
    versions: { before, theirs, mine },
    entered,
    labelOf,
    shown,
    onChoose,
  } = props;
  const names = Object.keys(before) as Name[];
  const differing = names.filter((name) => theirs[name] !== before[name] || mine[name] !== before[name]);
  return (
    <div className="conflict" role="alert">
      <p>
        <strong>{t.conflict}.</strong> {t.conflictLead}
      </p>
      <table className="table">
        <thead>
          <tr>
            <td />
            <th scope="col">{t.conflictBefore}</th>
            <th scope="col">{t.conflictTheirs}</th>
            <th scope="col">{t.conflictMine}</th>
          </tr>
        </thead>
        <tbody>
          {differing.map((name) => (
            <tr key={name}>
              <th scope="row">{labelOf(name)}</th>
              <td>{shown(name, before[name]) || t.empty}</td>
              {[theirs[name], mine[name]].map((value, i) => (
                <td key={i}>
                  <label className="checkbox">
                    <input
                      type="radio"
                      name={`conflict-${name}`}
                      checked={entered[name] === value}
                      onChange={() => onChoose(name, value)}
                    />
                    {shown(name, value) || t.empty}
                  </label>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
