/** What is said about photos of contacts, in English. */
export const PHOTO_TEXTS = {
  title: (name: string) => `Photo of ${name}`,
  present: (name: string) => `The photo of ${name}`,
  picture: 'Picture',
  hint: 'JPEG, PNG or WebP. Only a square of it is sent.',
  unreadable: 'This picture cannot be read. Please take another one.',
  preview: 'The photo as it will be',
  zoom: 'Zoom',
  across: 'Left to right',
  down: 'Top to bottom',
  save: 'Save photo',
  other: 'Another picture',
  remove: 'Remove photo',
  saved: (name: string) => `Saved the photo of ${name}`,
  removed: (name: string) => `Removed the photo of ${name}`,
};
