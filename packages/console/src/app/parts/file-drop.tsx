import './file-drop.css';
import { type DragEvent, useId, useState } from 'react';
import { importTexts } from '../import-texts.ts';

export interface FileDropProps {
  readonly label: string;
  /** Names of kinds of files, as `accept` of an input has them. */
  readonly accept: string;
  readonly hint: string;
  readonly onFile: (file: File) => void;
}

/** Takes a file that is dropped or chosen. */
export function FileDrop({ label, accept, hint, onFile }: FileDropProps) {
  const id = useId();
  const [isOver, setOver] = useState(false);
  const onDrag = (event: DragEvent) => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault();
    setOver(event.type === 'dragover');
  };
  return (
    <div
      className={isOver ? 'file-drop over' : 'file-drop'}
      onDragOver={onDrag}
      onDragLeave={onDrag}
      onDrop={(event) => {
        onDrag(event);
        const [file] = event.dataTransfer.files;
        if (file !== undefined) onFile(file);
      }}
    >
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="file"
        accept={accept}
        aria-describedby={`${id}-hint`}
        onChange={({ target }) => {
          const [file] = target.files ?? [];
          // The same file again is to be taken as well.
          target.value = '';
          if (file !== undefined) onFile(file);
        }}
      />
      <p className="hint" id={`${id}-hint`}>
        {importTexts.orDrop} {hint}
      </p>
    </div>
  );
}
