import { KithError } from '@kith/client/calls';
import { Component, type ReactNode } from 'react';
import { describeFailure } from '../failures.ts';
import { Link } from '../router.tsx';
import { t } from '../texts.ts';

export function Skeleton({ rows = 6 }: { readonly rows?: number }) {
  return (
    <div className="skeletons" role="status" aria-label={t.loading}>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} className="skeleton" />
      ))}
    </div>
  );
}

export function Empty({ title, lead }: { readonly title: string; readonly lead: string }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      <p>{lead}</p>
    </div>
  );
}

/** Why something could not be shown, with the ways on. */
export function Failed({ error, onRetry }: { readonly error: unknown; readonly onRetry?: () => void }) {
  return (
    <div className="empty" role="alert">
      <p className="empty-title">{t.failed}</p>
      <p>{describeFailure(error)}</p>
      <p className="actions">
        {onRetry !== undefined && (
          <button type="button" className="button" onClick={onRetry}>
            {t.tryAgain}
          </button>
        )}
        <Link to="" className="button">
          {t.home}
        </Link>
      </p>
    </div>
  );
}

/** Shows what a page throws while it is drawn. */
export class Boundary extends Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
  override state = { error: undefined as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return <Failed error={KithError.from(error)} onRetry={() => location.reload()} />;
  }
}
