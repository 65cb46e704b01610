import type { DescMethod } from '@bufbuild/protobuf';
import { compilePlan, largestBytes } from '../scan/plan.ts';
import type { AccessRules } from './access.ts';

/**
 * The largest request of a method that anybody may call, bytes unpacked. No such request of the contract
 * comes near it, and it holds what people paste into a field by mistake, which is then refused by name.
 */
const PUBLIC_BYTES = 65_536;

/** A question of reflection, bytes: a name. */
const REFLECTION_BYTES = 4096;

/**
 * The largest request message of each method that is read, bytes unpacked: what its type allows, where
 * that is not less than PUBLIC_BYTES, and never more than `bytesMax`.
 */
export function createMessageLimits(rules: AccessRules, bytesMax: number): (method: DescMethod) => number {
  const limits = new Map<DescMethod, number>();
  return (method) => {
    let limit = limits.get(method);
    if (limit === undefined) {
      limit = Math.min(bytesMax, limitOf(method, rules.of(method).access.kind === 'public'));
      limits.set(method, limit);
    }
    return limit;
  };
}

function limitOf(method: DescMethod, isPublic: boolean): number {
  if (method.parent.typeName.startsWith('grpc.reflection.')) return REFLECTION_BYTES;
  const largest = largestBytes(compilePlan(method.input));
  if (isPublic && largest === Infinity) return PUBLIC_BYTES;
  return Math.max(PUBLIC_BYTES, largest);
}
