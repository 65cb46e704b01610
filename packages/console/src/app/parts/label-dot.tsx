/** The color of a label; a ring for one without. */
export function LabelDot({ color }: { readonly color: string }) {
  return (
    <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" className="label-dot">
      <circle cx="6" cy="6" r="5" fill={color || 'none'} stroke={color ? 'none' : 'currentColor'} />
    </svg>
  );
}
