/**
 * What a log writes its lines to: they go to standard output together, at the end
 * of the turn of the event loop in which they come. A system call for each line
 * takes longer than to serve a small call. A process that exits writes what is
 * left; one that is killed loses the lines of one turn.
 */
export const logOutput = {
  write(line: string): void {
    if (lines === '') setImmediate(pass);
    if (!isWatchingExit) {
      isWatchingExit = true;
      process.on('exit', pass);
    }
    lines += line;
  },
};

let lines = '';
let isWatchingExit = false;

function pass(): void {
  if (lines === '') return;
  const passed = lines;
  lines = '';
  process.stdout.write(passed);
}
