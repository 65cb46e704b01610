/** How many pixels photos have in each direction at the most, as the contract says. */
export const PHOTO_SIZES = { small: 96, large: 512 } as const;

export type PhotoSize = keyof typeof PHOTO_SIZES;

/** A photo in each of its sizes, as JPEG. */
export type MadePhoto = Readonly<Record<PhotoSize, Uint8Array<ArrayBuffer>>>;

/** What the thread says of a picture. */
export interface PhotoAnswer {
  readonly outcome: PhotoOutcome;
  /** Whether the thread holds so much memory by now that it is to be ended. */
  readonly isLarge: boolean;
}

/** What came of a picture; a text is why it cannot be read, in words that follow "the photo". */
export type PhotoOutcome = MadePhoto | string;
