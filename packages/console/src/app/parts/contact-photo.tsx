import { type Contact, ContactService, PhotoSize } from '@kith/client/contacts';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { contactName } from '../contact-name.ts';
import { useService } from '../context.tsx';
import { Avatar } from './avatar.tsx';

/** How long a photo is kept that no page shows, milliseconds. */
const KEPT_MS = 600_000;

interface PhotoProps {
  readonly photoId: string;
  readonly size: PhotoSize;
  readonly className: string;
  readonly alt: string;
  /** What is shown until it is there, and where it cannot be. */
  readonly children?: ReactNode;
}

/** A photo by its id, which stands for one picture for ever. It is asked for as any data, since it has no address. */
export function Photo({ photoId, size, className, alt, children }: PhotoProps) {
  const contacts = useService(ContactService, 'Contact');
  const { data } = useQuery({
    queryKey: ['photo', photoId, size],
    staleTime: Infinity,
    gcTime: KEPT_MS,
    queryFn: async ({ signal }) => {
      const { image, contentType } = await contacts.getPhoto({ photoId, size }, { signal });
      return `data:${contentType};base64,${toBase64(image)}`;
    },
  });
  return data === undefined ? children : <img className={className} src={data} alt={alt} draggable={false} />;
}

interface ContactAvatarProps {
  readonly contact: Contact;
  readonly isLarge?: boolean;
}

/** The photo of a contact, or its initials. */
export function ContactAvatar({ contact, isLarge = false }: ContactAvatarProps) {
  const { photoId } = contact;
  const initials = <Avatar name={contactName(contact)} isLarge={isLarge} />;
  if (photoId === '') return initials;
  return (
    <Photo
      photoId={photoId}
      size={isLarge ? PhotoSize.LARGE : PhotoSize.SMALL}
      className={isLarge ? 'avatar large' : 'avatar'}
      alt=""
    >
      {initials}
    </Photo>
  );
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}
