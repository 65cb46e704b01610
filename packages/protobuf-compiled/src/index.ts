export { fromBinary, toBinary, toBinaryBehind } from './binary.ts';
export { fromJsonString, toJsonString } from './json.ts';
