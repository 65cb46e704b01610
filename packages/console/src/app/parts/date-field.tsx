import { useId } from 'react';
import { language } from '../../preferences.ts';
import { fieldTexts } from '../field-texts.ts';

export interface DateFieldProps {
  readonly label: string;
  readonly error?: string | undefined;
  /** `year-month-day`, each of which may be empty; '' for none. */
  readonly value: string;
  readonly onChange: (value: string) => void;
}

const MONTH = new Intl.DateTimeFormat(language, { month: 'long', timeZone: 'UTC' });
const MONTHS = Array.from({ length: 12 }, (_, i) => MONTH.format(Date.UTC(2000, i, 1)));

/** A date as far as it is known: day, month and year, each of which may be left out. */
export function DateField({ label, error, value, onChange }: DateFieldProps) {
  const id = useId();
  const [year = '', month = '', day = ''] = value.split('-');
  const change = (parts: readonly string[]) => onChange(parts.every((part) => part === '') ? '' : parts.join('-'));
  const { form } = fieldTexts;
  const digits = (text: string) => text.replaceAll(/\D/g, '');
  const described = { 'aria-invalid': error !== undefined, 'aria-describedby': error && `${id}-error` };
  return (
    <div className="field" role="group" aria-labelledby={id}>
      <span className="label" id={id}>
        {label}
      </span>
      <div className="date-parts">
        <input
          aria-label={form.day}
          placeholder={form.day}
          inputMode="numeric"
          maxLength={2}
          value={day}
          onChange={({ target }) => change([year, month, digits(target.value)])}
          {...described}
        />
        <select
          aria-label={form.month}
          value={month}
          onChange={({ target }) => change([year, target.value, day])}
          {...described}
        >
          <option value="">{form.month}</option>
          {MONTHS.map((name, i) => (
            <option key={name} value={i + 1}>
              {name}
            </option>
          ))}
        </select>
        <input
          aria-label={form.year}
          placeholder={form.year}
          inputMode="numeric"
          maxLength={4}
          value={year}
          onChange={({ target }) => change([digits(target.value), month, day])}
          {...described}
        />
      </div>
      {error !== undefined && (
        <span className="error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
}
