/** A text of which the bytes may be in several charsets. */
export interface DecodedText {
  readonly text: string;
  /** Whether the characters are bytes (Latin-1), of which each line is still to be decoded: see decodeLine. */
  readonly isBytes: boolean;
}

/**
 * Decodes a file: by its byte order mark (UTF-8, UTF-16), as UTF-16 if every other byte of its beginning is 0, as UTF-8 if
 * it is that. Otherwise its lines may be in charsets of their own, which vCard 2.1 allows.
 */
export function decodeFile(bytes: Uint8Array): DecodedText {
  const charset = sniffUtf16(bytes);
  if (charset !== undefined) return { text: new TextDecoder(charset).decode(bytes), isBytes: false };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), isBytes: false };
  } catch {
    return { text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'), isBytes: true };
  }
}

/** Decodes a line of bytes: by the charset that it declares, else as UTF-8 if it is that, else as Windows-1252. */
export function decodeLine(line: string, charset: string | undefined): string {
  return decodeBytes(Buffer.from(line, 'latin1'), charset);
}

/** Decodes bytes: by a declared charset that is known, else as UTF-8 if they are that, else as Windows-1252. */
export function decodeBytes(bytes: Uint8Array, charset: string | undefined): string {
  const declared = charset === undefined ? undefined : decoderOf(charset);
  if (declared !== undefined) return declared.decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/** A decoder for a charset by one of its names; undefined if there is none. */
function decoderOf(charset: string): TextDecoder | undefined {
  try {
    return new TextDecoder(charset);
  } catch {
    return undefined;
  }
}

function sniffUtf16(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | undefined {
  const [first, second, third, fourth] = bytes;
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  if (first !== 0 && second === 0 && third !== 0 && fourth === 0) return 'utf-16le';
  if (first === 0 && second !== 0 && third === 0 && fourth !== 0) return 'utf-16be';
  return undefined;
}
