import {
  type FormEvent,
  type InputHTMLAttributes,
  type ReactNode,
  type TextareaHTMLAttributes,
  useId,
  useState,
} from 'react';
import { describeFailure, violationsOf } from '../failures.ts';
import { t } from '../texts.ts';

export interface FieldProps extends Omit<InputHTMLAttributes<HTMLInputElement>, 'onChange'> {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

export function Field({ label, hint, error, onChange, ...input }: FieldProps) {
  return (
    <Described label={label} hint={hint} error={error}>
      {(attributes) => <input {...attributes} onChange={(event) => onChange(event.target.value)} {...input} />}
    </Described>
  );
}

export interface TextAreaProps extends Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, 'onChange'> {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

export function TextArea({ label, hint, error, onChange, ...area }: TextAreaProps) {
  return (
    <Described label={label} hint={hint} error={error}>
      {(attributes) => <textarea {...attributes} onChange={(event) => onChange(event.target.value)} {...area} />}
    </Described>
  );
}

interface DescribedProps extends Pick<FieldProps, 'label' | 'hint' | 'error'> {
  /** The control, given what ties it to its texts. */
  readonly children: (attributes: {
    readonly id: string;
    readonly 'aria-invalid': boolean;
    readonly 'aria-describedby': string | undefined;
  }) => ReactNode;
}

/** A control with its label, a hint, and what is wrong with what was entered. */
function Described({ label, hint, error, children }: DescribedProps) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-invalid': error !== undefined, 'aria-describedby': described || undefined })}
      {hint !== undefined && (
        <span className="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {error !== undefined && (
        <span className="error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
}

export interface SelectProps {
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, label: string])[];
  readonly onChange: (value: string) => void;
  /** Whether the label is for screen readers alone. */
  readonly isLabelHidden?: boolean;
}

export function Select({ label, value, options, onChange, isLabelHidden = false }: SelectProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id} className={isLabelHidden ? 'visually-hidden' : undefined}>
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

export interface CheckboxProps {
  readonly label: string;
  readonly checked: boolean;
  readonly onChange: (checked: boolean) => void;
}

export function Checkbox({ label, checked, onChange }: CheckboxProps) {
  return (
    <label className="checkbox">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}

export interface FormProps {
  readonly action: string;
  /** Sends what was entered; what it throws is shown. */
  readonly onSubmit: () => Promise<unknown>;
  readonly onCancel?: (() => void) | undefined;
  /** The fields, given what is wrong with each by its name in the contract. */
  readonly children: (errors: ReadonlyMap<string, string>) => ReactNode;
  /** Beside the buttons. */
  readonly aside?: ReactNode;
}

export function Form({ action, onSubmit, onCancel, children, aside }: FormProps) {
  const [failure, setFailure] = useState<unknown>(undefined);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    setFailure(undefined);
    try {
      await onSubmit();
    } catch (thrown) {
      setFailure(thrown);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="form" noValidate onSubmit={(event) => void submit(event)} aria-busy={isBusy}>
      {children(failure === undefined ? NO_ERRORS : violationsOf(failure))}
      {failure !== undefined && (
        <p className="alert" role="alert">
          {describeFailure(failure)}
        </p>
      )}
      <div className="actions">
        <button type="submit" className="button primary" disabled={isBusy}>
          {action}
        </button>
        {onCancel !== undefined && (
          <button type="button" className="button" onClick={onCancel}>
            {t.cancel}
          </button>
        )}
        {aside}
      </div>
    </form>
  );
}

const NO_ERRORS: ReadonlyMap<string, string> = new Map();
