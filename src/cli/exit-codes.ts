/** How a command that calls Kith ends, for scripts to branch on. Help and docs/cli.md list them. */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  unauthenticated: 3,
  notFound: 4,
  conflict: 5,
  unavailable: 6,
  interrupted: 130,
  brokenPipe: 141,
} as const;

export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

/** What each code says. */
export const EXIT_CODE_TEXTS: Readonly<Record<keyof typeof EXIT_CODES, string>> = {
  ok: 'Done.',
  failed: 'Kith refused the call, or a part of the work failed. Standard error says why.',
  usage: 'The command was not understood: an unknown command or option, a missing argument, a body that does not fit.',
  unauthenticated: 'Nobody is signed in, or the session or the API key is not valid any more.',
  notFound: 'What the call is about does not exist.',
  conflict: 'It exists already, or somebody else has changed it meanwhile.',
  unavailable: 'Kith cannot be reached, is busy, or did not answer in time. The same command may succeed later.',
  interrupted: 'Ctrl-C, or SIGTERM.',
  brokenPipe: 'The program that read the output has ended.',
};
