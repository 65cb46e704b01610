import { Fragment, type ReactNode, useState } from 'react';
import { Link } from '../router.tsx';
import { importTexts } from '../import-texts.ts';
import { t } from '../texts.ts';
import { useTitle } from '../use-title.ts';
import { FileDrop, type FileDropProps } from './file-drop.tsx';

export interface ImportPageProps<Source> extends Pick<FileDropProps, 'accept' | 'hint'> {
  readonly title: string;
  /** The page that what is imported appears on. */
  readonly target: 'users' | 'contacts';
  /** The largest file that is read at once, bytes; the command line takes larger ones. */
  readonly bytesMax: number;
  readonly read: (file: File) => Promise<Source>;
  /** What is shown as long as no file was chosen. */
  readonly before?: ReactNode;
  /** What is shown of a file that was read, made anew for each. */
  readonly children: (source: Source) => ReactNode;
}

/** A page that takes a file, and then shows what is in it. */
export function ImportPage<Source>(props: ImportPageProps<Source>) {
  const { title, target, accept, hint, bytesMax, read, before, children } = props;
  useTitle(title);
  const [opened, setOpened] = useState<{ readonly count: number; readonly source?: Source }>({ count: 0 });
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const open = async (file: File) => {
    setOpened(({ count }) => ({ count }));
    const isTooLarge = file.size > bytesMax;
    setProblem(isTooLarge ? importTexts.fileTooLarge : undefined);
    if (isTooLarge) return;
    const source = await read(file);
    setOpened(({ count }) => ({ count: count + 1, source }));
  };
  return (
    <>
      <p>
        <Link to={target}>← {t[target]}</Link>
      </p>
      <div className="page-head">
        <h1>{title}</h1>
      </div>
      <FileDrop label={importTexts.file} accept={accept} hint={hint} onFile={(file) => void open(file)} />
      {problem !== undefined && (
        <p className="alert" role="alert">
          {problem}
        </p>
      )}
      {opened.count === 0 && before}
      {opened.source !== undefined && <Fragment key={opened.count}>{children(opened.source)}</Fragment>}
    </>
  );
}
