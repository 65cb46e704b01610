import type { Attack } from './attack.ts';

/** Whose rights an attack takes. */
export type Who = 'anybody' | 'viewer' | 'editor' | 'API key';

/** One way to make a server hold or do more than it should. */
export interface Shape {
  readonly name: string;
  /** What it is about; the short form takes some of each. */
  readonly kind: string;
  readonly who: Who;
  readonly sends: string;
  /** It sends as much as a core can: the others may be slowed down more. */
  readonly isFlood?: boolean;
  /** One of those that run with the tests. */
  readonly isShort?: boolean;
  /** It calls from the address of the well-behaved client. */
  readonly sharesAddress?: boolean;
  /** Answers that must come at least once each; without them the attack has not arrived. */
  readonly expects: readonly RegExp[];
  /** What is there before the attack: takes no longer than some seconds. */
  readonly prepare?: (attack: Attack) => Promise<void>;
  /** Attacks until `attack.isOver`. */
  readonly run: (attack: Attack) => Promise<void>;
}
