import { type ReactNode, useState } from 'react';
import { t } from '../texts.ts';

export interface Pages {
  /** Of the page that is shown. */
  readonly pageToken: string;
  readonly isFirst: boolean;
  /** Leads to the pages before and behind, given the token of the next one and how many items there are in all. */
  pager(nextPageToken: string, total?: string): ReactNode;
}

/** Pages through a list by its tokens. */
export function usePages(): Pages {
  // The tokens of the pages that led here.
  const [tokens, setTokens] = useState<readonly string[]>(['']);
  const isFirst = tokens.length === 1;
  return {
    pageToken: tokens.at(-1) ?? '',
    isFirst,
    pager: (nextPageToken, total = '') => (
      <div className="pager">
        <button
          type="button"
          className="button"
          disabled={isFirst}
          onClick={() => setTokens((before) => before.slice(0, -1))}
        >
          {t.previous}
        </button>
        <span className="muted">
          {t.page(tokens.length)}
          {total !== '' && ` · ${total}`}
        </span>
        <button
          type="button"
          className="button"
          disabled={nextPageToken === ''}
          onClick={() => setTokens((before) => [...before, nextPageToken])}
        >
          {t.next}
        </button>
      </div>
    ),
  };
}
