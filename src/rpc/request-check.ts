import { create, type DescField, type DescMethod, type Message, ScalarType } from '@bufbuild/protobuf';
import { scalarZeroValue } from '@bufbuild/protobuf/reflect';
import { ValidationError, type Validator, Violation } from '@bufbuild/protovalidate';
import type { ConnectError } from '@connectrpc/connect';
import { Failure } from '../kernel/failure.ts';
import { scanBinary } from '../scan/binary.ts';
import type { Finding, TooMany } from '../scan/finding.ts';
import { scanJson } from '../scan/json.ts';
import { compilePlan, type FieldPlan, type Plan } from '../scan/plan.ts';
import { explained, toConnectError } from './errors.ts';
import { toInvalidArgument } from './validate.ts';

/** Why the bytes of a request message are refused, if they are. Does not throw. */
export type RequestCheck = (method: DescMethod, bytes: Uint8Array, isBinary: boolean) => ConnectError | undefined;

/**
 * Looks at the bytes of requests before messages are made of them: what has fields that are not in the
 * contract, or more of something than it allows, is refused in the time that it takes to read it. A server
 * that dropped unknown fields would acknowledge a write it did not make.
 *
 * Refuses as `validator` would, with its violations. Throws UnboundedTypeError for a request type whose
 * size cannot be bounded.
 */
export function createRequestCheck(methods: readonly DescMethod[], validator: Validator): RequestCheck {
  const known = new Map<DescMethod['input'], Plan>();
  const plans = new Map(methods.map((method) => [method, compilePlan(method.input, known)]));
  const violationOf = createViolations(
    [...known.values()].flatMap(({ fields }) => fields),
    validator,
  );
  const refusalOf = (finding: Finding): ConnectError => {
    switch (finding.kind) {
      case 'malformed':
        return toConnectError(new Failure('malformed_request', finding.message));
      case 'unknown_field': {
        const { type, number } = finding;
        const message = `${type.typeName} has no field ${number} in this server's contract`;
        return toConnectError(new Failure('field_unknown', message, { field: String(number) }));
      }
      default: {
        const { message, ruleId, rule, forKey } = violationOf(finding.field, finding.of);
        const error = new ValidationError([new Violation(message, ruleId, finding.path, rule, forKey)]);
        return explained(toInvalidArgument(error));
      }
    }
  };
  return (method, bytes, isBinary) => {
    const plan = plans.get(method);
    if (plan === undefined) throw new Error(`${method.parent.typeName}/${method.name} is not served`);
    const finding = isBinary ? scanBinary(plan, bytes) : scanJson(plan, bytes);
    return finding && refusalOf(finding);
  };
}

/** The violation of each field's bound, in the validator's words, which is asked when a bound is first broken. */
function createViolations(
  plans: readonly FieldPlan[],
  validator: Validator,
): (field: DescField, of: TooMany) => Violation {
  const planOf = new Map(plans.map((plan) => [plan.field, plan]));
  const known: Record<TooMany, Map<DescField, Violation>> = { field: new Map(), key: new Map(), value: new Map() };
  return (field, of) => {
    const plan = planOf.get(field);
    let violation = known[of].get(field);
    if (violation === undefined && plan !== undefined) {
      const { violations } = validator.validate(field.parent, beyondBound(plan, of));
      const own = violations?.filter(({ field: path }) => path[0] === field) ?? [];
      // A form has a length too, such as that of a UUID: its rule is broken instead.
      violation = own.find(({ ruleId }) => BOUNDS.has(ruleId)) ?? own[0];
      if (violation !== undefined) known[of].set(field, violation);
    }
    if (violation === undefined) throw new Error(`${field.toString()} has no bound`);
    return violation;
  };
}

const BOUNDS = new Set(['repeated.max_items', 'map.max_pairs', 'string.max_len']);

/** A message that has more of something in one field than the contract allows, and nothing else. */
function beyondBound(plan: FieldPlan, of: TooMany): Message {
  const { field } = plan;
  const value = excess(plan, of);
  const { oneof } = field;
  return create(
    field.parent,
    oneof === undefined ? { [field.localName]: value } : { [oneof.localName]: { case: field.localName, value } },
  );
}

function excess(
  { field, countMax, charactersMax, keyCharactersMax, valueCharactersMax }: FieldPlan,
  of: TooMany,
): unknown {
  switch (field.fieldKind) {
    case 'list': {
      const { message, scalar } = field;
      const item = () => (message === undefined ? scalarZeroValue(scalar ?? ScalarType.INT32, false) : create(message));
      return Array.from({ length: countMax + 1 }, item);
    }
    case 'map': {
      if (of === 'key')
        return { ['a'.repeat(keyCharactersMax + 1)]: scalarZeroValue(field.scalar ?? ScalarType.INT32, false) };
      if (of === 'value') return { a: 'a'.repeat(valueCharactersMax + 1) };
      const value = scalarZeroValue(field.scalar ?? ScalarType.INT32, false);
      return Object.fromEntries(Array.from({ length: countMax + 1 }, (_, key) => [key, value]));
    }
    default:
      return 'a'.repeat(charactersMax + 1);
  }
}
