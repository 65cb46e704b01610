/** The process that attacks: one shape, then it is ended. */
import { Attack, type AttackOptions } from './attack.ts';
import { readMethods } from './contract.ts';
import { answerWith } from './peer.ts';
import { SHAPES } from './shapes.ts';

export type AttackerQuestion =
  | { readonly ask: 'prepare'; readonly shape: string; readonly options: AttackOptions }
  | { readonly ask: 'attack' };

let attack: Attack | undefined;
let name = '';

answerWith(async (question: AttackerQuestion) => {
  if (question.ask === 'prepare') {
    name = question.shape;
    attack = new Attack(question.options, await readMethods());
    await shape().prepare?.(attack);
    return undefined;
  }
  if (attack === undefined) throw new Error('the attack was not prepared');
  attack.begin();
  await shape().run(attack);
  return attack.tally();
});

function shape() {
  const found = SHAPES.find((shape) => shape.name === name);
  if (found === undefined) throw new Error(`there is no shape ${name}`);
  return found;
}
