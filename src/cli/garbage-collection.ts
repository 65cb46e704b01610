import { getHeapStatistics, setFlagsFromString } from 'node:v8';

/**
 * Has V8 keep its young generation as small as it is at first. What a start allocates mostly stays, so that V8 would make
 * it as large as it can be, 32 MiB, and leave it so while there is nothing to do. Call it before anything is loaded: what
 * Node has compiled is good for the flags that it was compiled with.
 */
export function holdYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** By how much the old generation may grow beyond what lives in it before it is collected, percent. */
const GROWTH_PERCENT = 40;

/** Below it V8 takes 30 percent, or little more, bytes. */
const SMALL_HEAP_BYTES = 1024 ** 3;

/**
 * Has V8 collect a small heap half as often: the bodies of requests count in what it grows by, so that twenty messages of
 * a megabyte in a second had the whole heap looked through four times. Call it before anything is loaded, as the above.
 */
export function letSmallHeapGrow(): void {
  if (getHeapStatistics().heap_size_limit > SMALL_HEAP_BYTES) return;
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}

/** Lets the young generation grow with the load, by V8's default. */
export function letYoungGenerationGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}
