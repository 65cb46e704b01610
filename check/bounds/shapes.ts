import type { Shape } from './shape.ts';
import { accountShapes } from './shapes/accounts.ts';
import { answerShapes } from './shapes/answers.ts';
import { connectionShapes } from './shapes/connections.ts';
import { messageShapes } from './shapes/messages.ts';
import { streamShapes } from './shapes/streams.ts';

/** Every way to attack, those about messages first. */
export const SHAPES: readonly Shape[] = [
  ...messageShapes,
  ...connectionShapes,
  ...answerShapes,
  ...streamShapes,
  ...accountShapes,
];
