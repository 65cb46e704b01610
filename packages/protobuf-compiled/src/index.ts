export { fromBinary, toBinary, toBinaryBehind } from './binary.ts';
