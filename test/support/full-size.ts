/**
 * How much a test does that tries many values or rounds: `size` in `npm test`, and `full` where KITH_TEST_FULL is set,
 * as `npm run test:long` and `npm run test:all` do. A number in the variable `name` goes before both.
 */
export function sizeOf(name: string, size: number, full: number): number {
  const given = process.env[name];
  if (given !== undefined) return Number(given);
  return process.env['KITH_TEST_FULL'] === undefined ? size : full;
}
