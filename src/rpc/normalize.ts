import { type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import { field as fieldRules, type FieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Normalization, normalization } from '../../gen/kith/text/v1/text_pb.ts';
import { compact, trimEnds } from '../kernel/text.ts';
import { optionOf } from '../scan/option.ts';

/**
 * Brings the texts of a request into the one form in which everything behind it
 * compares and stores them: UUIDs in lower case (RFC 9562, 4), and what the contract
 * declares (kith.text.v1.normalization). It changes the message itself, and takes a
 * second time what it has changed for what it is.
 */
export type Normalize = (desc: DescMessage, message: Message) => void;

/** Of one message type. */
type NormalizeMessage = (message: Fields) => void;
type NormalizeText = (text: string) => string;
type Fields = Record<string, unknown>;

/** What there is to do for each message type is found out when the first such message comes. */
export function createNormalize(): Normalize {
  const known = new Map<DescMessage, NormalizeMessage | undefined>();

  const normalizeOf = (desc: DescMessage): NormalizeMessage | undefined => {
    if (known.has(desc)) return known.get(desc);
    known.set(desc, (message) => known.get(desc)?.(message)); // for messages that hold others of their kind
    const steps = desc.fields.map(stepOf).filter((step) => step !== undefined);
    const normalize =
      steps.length === 0
        ? undefined
        : (message: Fields) => {
            for (const step of steps) step(message);
          };
    known.set(desc, normalize);
    return normalize;
  };

  const stepOf = (field: DescField): NormalizeMessage | undefined => {
    const normalizeValue = valueOf(field);
    if (normalizeValue === undefined) return undefined;
    const name = field.localName;
    if (field.oneof === undefined) {
      return (message) => {
        const value = message[name];
        if (value !== undefined) message[name] = normalizeValue(value);
      };
    }
    const oneofName = field.oneof.localName;
    return (message) => {
      const oneof = message[oneofName] as { readonly case?: string; value?: unknown };
      if (oneof.case === name) oneof.value = normalizeValue(oneof.value);
    };
  };

  /** What makes the normal form of a field's value; undefined where that is the value. */
  const valueOf = (field: DescField): ((value: unknown) => unknown) | undefined => {
    const one = elementOf(field);
    if (one === undefined || field.fieldKind === 'scalar' || field.fieldKind === 'message') return one;
    if (field.fieldKind === 'list') return (items) => (items as unknown[]).map(one);
    return (entries) => Object.fromEntries(Object.entries(entries as Fields).map(([key, value]) => [key, one(value)]));
  };

  const elementOf = (field: DescField): ((value: unknown) => unknown) | undefined => {
    if (field.message !== undefined) {
      const inner = normalizeOf(field.message);
      if (inner === undefined) return undefined;
      return (value) => {
        inner(value as Fields);
        return value;
      };
    }
    const normalizeText = field.scalar === ScalarType.STRING ? textOf(field) : undefined;
    return normalizeText && ((value) => normalizeText(value as string));
  };

  return (desc, message) => normalizeOf(desc)?.(message);
}

function textOf(field: DescField): NormalizeText | undefined {
  switch (optionOf(field, normalization)) {
    case Normalization.TRIM:
      return trimEnds;
    case Normalization.COMPACT:
      return compact;
    default:
      return isId(optionOf(field, fieldRules)) ? lowerCase : undefined;
  }
}

function isId({ type }: FieldRules): boolean {
  if (type.case === 'repeated') return type.value.items !== undefined && isId(type.value.items);
  return type.case === 'string' && type.value.wellKnown.case === 'uuid' && type.value.wellKnown.value;
}

function lowerCase(id: string): string {
  return id.toLowerCase();
}
