/**
 * Print vitest's JSON report as one line, `12 passed, 0 failed`, for readers
 * that do not know vitest: `test-summary.ts REPORT STATUS`, with vitest's exit
 * status. Fails when vitest did or no test passed.
 */
import { readFile } from 'node:fs/promises';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
}

const [path, status] = process.argv.slice(2);
if (path === undefined || status === undefined) throw new Error('usage: test-summary.ts REPORT STATUS');
const report: Report = JSON.parse(await readFile(path, 'utf8'));

const passed = report.numPassedTests;
// A file that cannot be loaded, or a rejection that nothing handles, fails the run but no test of it.
const failed = Math.max(report.numFailedTests, status === '0' ? 0 : 1);
const skipped = report.numPendingTests + report.numTodoTests;
if (passed + report.numFailedTests === 0) console.error('no test ran');
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
