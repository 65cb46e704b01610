import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 keep its young generation as small as it is at first. What a start allocates mostly stays, so that V8 would make
 * it as large as it can be, 32 MiB, and leave it so while there is nothing to do. Call it before anything is loaded: what
 * Node has compiled is good for the flags that it was compiled with.
 */
export function holdYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** Lets it grow with the load, by V8's default. */
export function letYoungGenerationGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}
