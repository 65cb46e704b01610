/** Thrown where a message does not fit into the bytes that are left: it is written again into more of them. */
export const FULL = new Error('there is no room left');

/**
 * Bytes at the end that are not counted on. What takes few bytes, which are numbers, tags and lengths, is written without
 * looking whether there is room, and then looked for at the latest after so many of them.
 */
export const RESERVE_BYTES = 2048;
