import type { Config } from '../config/config.ts';

/** What the operator does with what is stored, instead of serving it. */
export interface OperatorCommand {
  /** The one argument it takes. */
  readonly argument: string;
  readonly argumentHelp: string;
  readonly help: string;
  readonly examples: readonly string[];
  /** Loads what runs it, which a command that calls a server need not wait for. Throws DatabaseError for what the operator can mend. Prints what it did. */
  load(): Promise<(config: Config, argument: string) => Promise<void>>;
}

/** By name, of one word or two. */
export const OPERATOR_COMMANDS: Readonly<Record<string, OperatorCommand>> = {
  backup: {
    argument: 'FILE',
    argumentHelp: 'The copy, which must not exist.',
    help: 'Copy the database file to a new FILE, while it is served.',
    examples: ['kith backup /backups/kith-monday.db'],
    load: async () => (await import('./backup.ts')).backup,
  },
  restore: {
    argument: 'FILE',
    argumentHelp: 'A backup.',
    help: 'Put a copy of the backup FILE in the place of the database file, which is kept. Not while it is served.',
    examples: ['kith restore /backups/kith-monday.db'],
    load: async () => (await import('./restore.ts')).restore,
  },
  'copy-to': {
    argument: 'URL',
    argumentHelp: 'The URL of an empty database, as KITH_DATABASE_URL has it.',
    help: 'Copy all data from the database file into an empty database on a server, to serve it from there. Not while the file is served.',
    examples: ['kith copy-to "$NEW_DATABASE_URL"'],
    load: async () => (await import('./copy-to.ts')).copyTo,
  },
  'contract export': {
    argument: 'DIR',
    argumentHelp: 'A folder. What an earlier export wrote there is replaced.',
    help: 'Write the contract and what it imports as .proto files into DIR, for protoc and whatever reads sources.',
    examples: ['kith contract export ./kith-proto'],
    load: async () => (await import('./contract-export.ts')).contractExport,
  },
};
