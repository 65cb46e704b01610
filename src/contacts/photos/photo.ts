/** How many pixels photos have in each direction at the most, as the contract says. */
export const PHOTO_SIZES = { small: 96, large: 512 } as const;

export type PhotoSize = keyof typeof PHOTO_SIZES;

/** A photo in each of its sizes, as JPEG. */
export type MadePhoto = Readonly<Record<PhotoSize, Uint8Array<ArrayBuffer>>>;

/** What came of a picture; a text is why it cannot be read, in words that follow "the photo". */
export type PhotoOutcome = MadePhoto | string;
