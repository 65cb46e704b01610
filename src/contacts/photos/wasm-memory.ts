/** The section of a module that has its memory (WebAssembly 2.0, 5.5.8). */
const MEMORY_SECTION = 5;

/**
 * A module of WebAssembly whose one memory grows to so many pages of 64 KiB at the most. What the module says itself is up to
 * 4 GiB, and no limit of a thread of Node counts that memory.
 */
export function withMemoryMax(wasm: Uint8Array, pages: number): Uint8Array<ArrayBuffer> {
  for (let at = 8; at < wasm.length; ) {
    const size = readUnsigned(wasm, at + 1);
    const end = size.end + size.value;
    if (wasm[at] === MEMORY_SECTION) {
      // A count, whether there is a maximum, the minimum, and the maximum.
      const { value: min } = readUnsigned(wasm, size.end + 2);
      const section = [1, 1, ...unsigned(min), ...unsigned(pages)];
      const head = Uint8Array.from([MEMORY_SECTION, ...unsigned(section.length), ...section]);
      return Uint8Array.from(Buffer.concat([wasm.subarray(0, at), head, wasm.subarray(end)]));
    }
    at = end;
  }
  throw new Error('the module has no memory of its own');
}

/** A number in LEB128 (WebAssembly 2.0, 5.2.2). */
function readUnsigned(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let at = start, weight = 1; ; at++, weight *= 128) {
    const byte = bytes[at]!;
    value += (byte & 0x7f) * weight;
    if (byte < 0x80) return { value, end: at + 1 };
  }
}

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 128) + 0x80, ...unsigned(Math.floor(value / 128))];
}
