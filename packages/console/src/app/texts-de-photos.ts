import type { PHOTO_TEXTS as EN } from './texts-en-photos.ts';

/** What is said about photos of contacts, in German. */
export const PHOTO_TEXTS: typeof EN = {
  title: (name) => `Foto von ${name}`,
  present: (name) => `Das Foto von ${name}`,
  picture: 'Bild',
  hint: 'JPEG, PNG oder WebP. Nur ein Quadrat davon wird gesendet.',
  unreadable: 'Dieses Bild kann nicht gelesen werden. Bitte nehmen Sie ein anderes.',
  preview: 'Das Foto, wie es wird',
  zoom: 'Vergrößerung',
  across: 'Von links nach rechts',
  down: 'Von oben nach unten',
  save: 'Foto speichern',
  other: 'Anderes Bild',
  remove: 'Foto entfernen',
  saved: (name) => `Das Foto von ${name} ist gespeichert`,
  removed: (name) => `Das Foto von ${name} ist entfernt`,
};
