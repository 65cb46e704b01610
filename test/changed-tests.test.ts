import { expect, test } from 'vitest';
import { testsOf } from '../scripts/test.ts';

const SOURCES = new Map([
  ['src/things/thing.ts', ''],
  ['src/things/thing.test.ts', "import { thing } from './thing.ts';"],
  ['src/things/store.ts', "import { thing } from './thing.ts';"],
  ['src/things/other.test.ts', "import {\n  other,\n} from '../other/other.ts';\n"],
  ['src/other/other.ts', ''],
  ['test/support/start.ts', "import '../../src/main.ts';"],
  [
    'test/whole.test.ts',
    "import { start } from './support/start.ts';\n\nconst PAGE = 'docs/things.md';\nconst MAIN = 'src/main.ts';\n",
  ],
  ['src/main.ts', ''],
  ['src/purge.test.ts', ''],
  ['packages/parts/src/part.ts', ''],
  ['packages/parts/src/index.ts', "export { part } from './part.ts';"],
  ['test/parts.test.ts', "import { part } from '../packages/parts/src/index.ts';"],
  ['test/rows.test.ts', "import { select } from '../src/things/store.ts';"],
]);

test.each<[string, string, string[]]>([
  ['a test', 'test/whole.test.ts', ['test/whole.test.ts']],
  ['a file with a test of its name', 'src/things/thing.ts', ['src/things/thing.test.ts']],
  [
    'a file without one',
    'src/things/store.ts',
    ['src/things/other.test.ts', 'src/things/thing.test.ts', 'test/rows.test.ts'],
  ],
  ['a file of a folder without tests', 'src/other/other.ts', ['src/things/other.test.ts']],
  ['what tests are supported by', 'test/support/start.ts', ['test/whole.test.ts']],
  ['a document', 'docs/things.md', ['test/whole.test.ts']],
  ['what a test starts as a process', 'src/main.ts', ['test/whole.test.ts']],
  ['a part of a package', 'packages/parts/src/part.ts', ['test/parts.test.ts']],
  ['a test that was removed', 'src/gone.test.ts', []],
])('npm test -- --changed runs the tests of %s', (_, changed, tests) => {
  expect(testsOf([changed], SOURCES)).toEqual(tests);
});
