import './edit-photo.css';
import { type Contact, ContactService, PhotoSize } from '@kith/client/contacts';
import { useQueryClient } from '@tanstack/react-query';
import { type PointerEvent, useEffect, useId, useRef, useState } from 'react';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { type Crop, moved, PHOTO_PIXELS, squareOf, ZOOM_MAX } from '../crop.ts';
import { describeFailure } from '../failures.ts';
import { Photo } from '../parts/contact-photo.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FileDrop } from '../parts/file-drop.tsx';
import { notify } from '../parts/toasts.tsx';
import { photoTexts as texts } from '../photo-texts.ts';
import { refreshContacts } from '../use-labels.ts';

interface EditPhotoProps {
  readonly contact: Contact;
  readonly onClose: () => void;
}

/** Gives a contact a photo: a square of a picture; or takes it away. Both can be taken back. */
export default function EditPhoto({ contact, onClose }: EditPhotoProps) {
  const contacts = useService(ContactService, 'Contact');
  const queries = useQueryClient();
  const [picture, setPicture] = useState<ImageBitmap | undefined>(undefined);
  const [failure, setFailure] = useState('');
  const [isBusy, setBusy] = useState(false);
  const { id: contactId, etag, photoId } = contact;
  const name = contactName(contact);
  useEffect(() => () => picture?.close(), [picture]);

  const take = async (file: Blob) => {
    setFailure('');
    try {
      setPicture(await createImageBitmap(file));
    } catch {
      setFailure(texts.unreadable);
    }
  };
  const change = async (text: string, send: () => Promise<{ readonly contact: Contact }>) => {
    if (isBusy) return;
    setBusy(true);
    setFailure('');
    try {
      const { contact: changed } = await send();
      refreshContacts(queries);
      // The newest version is what the contact was before this.
      const undo = async () => {
        const { versions } = await contacts.listVersions({ contactId, pageSize: 1 }).page();
        await contacts.restoreVersion({ contactId, version: versions[0]!.version, etag: changed.etag });
        refreshContacts(queries);
      };
      const undoOrTell = () =>
        void undo().catch((thrown: unknown) => notify(describeFailure(thrown), { isError: true }));
      notify(text, changed.etag === etag ? {} : { undo: undoOrTell });
      onClose();
    } catch (thrown) {
      setFailure(describeFailure(thrown));
      setBusy(false);
    }
  };
  const remove = () => void change(texts.removed(name), () => contacts.deletePhoto({ contactId, etag }));
  return (
    <Dialog title={texts.title(name)} onClose={onClose}>
      {failure !== '' && (
        <p className="alert" role="alert">
          {failure}
        </p>
      )}
      {picture === undefined ? (
        <>
          {photoId !== '' && (
            <Photo photoId={photoId} size={PhotoSize.LARGE} className="photo-square" alt={texts.present(name)} />
          )}
          <FileDrop label={texts.picture} accept="image/*" hint={texts.hint} onFile={(file) => void take(file)} />
          {photoId !== '' && (
            <div className="actions">
              <button type="button" className="button danger" aria-disabled={isBusy} onClick={remove}>
                {texts.remove}
              </button>
            </div>
          )}
        </>
      ) : (
        <Cropping
          picture={picture}
          isBusy={isBusy}
          onOther={() => setPicture(undefined)}
          onSave={(image) => void change(texts.saved(name), () => contacts.setPhoto({ contactId, etag, image }))}
        />
      )}
    </Dialog>
  );
}

interface CroppingProps {
  readonly picture: ImageBitmap;
  readonly isBusy: boolean;
  readonly onOther: () => void;
  readonly onSave: (image: Uint8Array<ArrayBuffer>) => void;
}

/** Chooses a square of a picture: by pulling it, or with a control for each direction, which keys move. */
function Cropping({ picture, isBusy, onOther, onSave }: CroppingProps) {
  const [crop, setCrop] = useState<Crop>({ zoom: 1, x: 0.5, y: 0.5 });
  const canvas = useRef<HTMLCanvasElement>(null);
  const pulled = useRef<{ readonly x: number; readonly y: number } | undefined>(undefined);
  const { left, top, side } = squareOf(picture, crop);
  const pixels = Math.min(PHOTO_PIXELS, Math.max(1, Math.round(side)));
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (context === null || context === undefined) return;
    context.imageSmoothingQuality = 'high';
    // JPEG has no transparency.
    context.fillStyle = '#fff';
    context.fillRect(0, 0, pixels, pixels);
    context.drawImage(picture, left, top, side, side, 0, 0, pixels, pixels);
  }, [picture, left, top, side, pixels]);
  const save = async () => {
    const { promise, resolve } = Promise.withResolvers<Blob | null>();
    canvas.current!.toBlob(resolve, 'image/jpeg', 0.92);
    const blob = await promise;
    if (blob !== null) onSave(new Uint8Array(await blob.arrayBuffer()));
  };
  const onPull = ({ clientX: x, clientY: y, currentTarget }: PointerEvent<HTMLCanvasElement>) => {
    const from = pulled.current;
    if (from === undefined) return;
    pulled.current = { x, y };
    const width = currentTarget.clientWidth || 1;
    setCrop((before) => moved(picture, before, (x - from.x) / width, (y - from.y) / width));
  };
  const end = () => void (pulled.current = undefined);
  return (
    <>
      <canvas
        ref={canvas}
        className="photo-square cropped"
        width={pixels}
        height={pixels}
        role="img"
        aria-label={texts.preview}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          pulled.current = { x: event.clientX, y: event.clientY };
        }}
        onPointerMove={onPull}
        onPointerUp={end}
        onPointerCancel={end}
      />
      <Slider
        label={texts.zoom}
        value={crop.zoom}
        min={1}
        max={ZOOM_MAX}
        isFirst
        onChange={(zoom) => setCrop({ ...crop, zoom })}
      />
      <Slider
        label={texts.across}
        value={crop.x}
        isDisabled={picture.width <= side}
        onChange={(x) => setCrop({ ...crop, x })}
      />
      <Slider
        label={texts.down}
        value={crop.y}
        isDisabled={picture.height <= side}
        onChange={(y) => setCrop({ ...crop, y })}
      />
      <div className="actions">
        <button type="button" className="button primary" aria-disabled={isBusy} onClick={() => void save()}>
          {texts.save}
        </button>
        <button type="button" className="button" onClick={onOther}>
          {texts.other}
        </button>
      </div>
    </>
  );
}

interface SliderProps {
  readonly label: string;
  readonly value: number;
  readonly min?: number;
  readonly max?: number;
  readonly isDisabled?: boolean;
  /** Whether it has the focus when it is shown. */
  readonly isFirst?: boolean;
  readonly onChange: (value: number) => void;
}

function Slider({ label, value, min = 0, max = 1, isDisabled = false, isFirst = false, onChange }: SliderProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (isFirst) input.current?.focus();
  }, [isFirst]);
  return (
    <div className="photo-slider">
      <label htmlFor={id}>{label}</label>
      <input
        ref={input}
        id={id}
        type="range"
        min={min}
        max={max}
        step={(max - min) / 50}
        value={value}
        disabled={isDisabled}
        onChange={({ target }) => onChange(Number(target.value))}
      />
    </div>
  );
}
