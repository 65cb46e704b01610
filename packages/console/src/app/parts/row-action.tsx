export interface RowActionProps {
  readonly label: string;
  /** What the row is about, for those who do not see the row beside the button. */
  readonly about: string;
  readonly onAct: () => void;
}

/** Does something with what one row of a table is about. */
export function RowAction({ label, about, onAct }: RowActionProps) {
  return (
    <button type="button" className="link" aria-label={`${label}: ${about}`} onClick={onAct}>
      {label}
    </button>
  );
}
