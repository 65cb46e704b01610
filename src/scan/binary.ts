import { WireType } from '@bufbuild/protobuf/wire';
import { clearCounters, countOne, counters } from './counters.ts';
import { DEPTH_MAX, type Finding, malformed, SHOWN_BYTES, tooDeep, tooMany, tooManyInPair, within } from './finding.ts';
import { type FieldPlan, Kind, type Plan, REPEATS_MAX, UTF8_CHARACTER_BYTES } from './plan.ts';

/** https://protobuf.dev/programming-guides/encoding/#varints */
const VARINT_BYTES_MAX = 10;
const TAG_BYTES_MAX = 5;
const WIRE_TYPES_MAX = 5;

/**
 * Looks through the bytes of a message, and says what in them the contract does not allow: bytes that
 * are no message, unknown fields, too many items, pairs or characters, too deep nesting.
 *
 * Makes nothing of the bytes but what it returns, and looks at each once. Stricter than protobuf-es,
 * which reads fields of a wrong wire type, and values that go on after the message that holds them, as
 * something else. Whether texts are UTF-8 is left to the decoder, and so is every rule about values.
 */
export function scanBinary(plan: Plan, bytes: Uint8Array): Finding | undefined {
  const scan = new BinaryScan(bytes);
  clearCounters(0, plan.counters);
  return scan.message(plan, bytes.length, 0, plan.counters, 1);
}

class BinaryScan {
  readonly #bytes: Uint8Array;
  #pos = 0;
  /** The first counter that is not in use. */
  #top = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Scans a message that ends at `end`, and has counters from `base` on. */
  message(plan: Plan, end: number, base: number, top: number, depth: number): Finding | undefined {
    if (depth > DEPTH_MAX) return tooDeep(plan.desc, 'binary');
    const bytes = this.#bytes;
    this.#top = top;
    while (this.#pos < end) {
      let tag = bytes[this.#pos] ?? 0;
      if (tag < 0x80) this.#pos++;
      else {
        const start = this.#pos;
        tag = this.#varint(end);
        const length = this.#pos - start;
        if (length > TAG_BYTES_MAX || (length === TAG_BYTES_MAX && (bytes[this.#pos - 1] ?? 0) > 0x0f)) tag = -1;
      }
      const number = tag >>> 3;
      if (tag < 0 || number === 0 || (tag & 7) > WIRE_TYPES_MAX) return broken(plan, 'a tag is broken');
      const wire: WireType = tag & 7;
      if (wire === WireType.StartGroup || wire === WireType.EndGroup) return broken(plan, 'it holds a group');
      const field = plan.byNumber.get(number);
      if (field === undefined) return { kind: 'unknown_field', type: plan.desc, number };
      const finding = this.#field(field, wire, end, base, depth);
      if (finding !== undefined) return finding;
    }
    return undefined;
  }

  #field(field: FieldPlan, wire: WireType, end: number, base: number, depth: number): Finding | undefined {
    if (field.isPackable && wire === WireType.LengthDelimited) return this.#packed(field, end, base);
    if (wire !== field.wire) return brokenField(field, 'it is of another wire type');
    const counter = base + field.counter;
    const occurrences = countOne(counter);
    if (occurrences > field.occurrencesMax) {
      return occurrences > field.countMax ? tooMany(field.field) : tooOften(field);
    }
    for (const replaced of field.replaces) counters[base + replaced] = 0;
    if (wire !== WireType.LengthDelimited) {
      return this.#skip(wire, end) ? undefined : brokenField(field, BREAKS_OFF);
    }
    const length = this.#length(end);
    if (length < 0) return brokenField(field, BREAKS_OFF);
    const innerEnd = this.#pos + length;
    switch (field.kind) {
      case Kind.Message:
        return this.#inner(field, undefined, innerEnd, counter + 1, depth);
      case Kind.MessageList:
        return this.#inner(field, occurrences - 1, innerEnd, undefined, depth);
      case Kind.Map:
        return this.#entry(field, innerEnd);
      default:
        this.#pos = innerEnd;
        return length > UTF8_CHARACTER_BYTES * field.charactersMax ? tooMany(field.field) : undefined;
    }
  }

  /**
   * A message in a message. `kept` is where the one that holds it keeps where its counters are: what
   * comes twice is merged, and counted together.
   */
  #inner(
    field: FieldPlan,
    index: number | undefined,
    end: number,
    kept: number | undefined,
    depth: number,
  ): Finding | undefined {
    const plan = field.message as Plan;
    const top = this.#top;
    const known = kept === undefined ? 0 : (counters[kept] ?? 0);
    const base = known === 0 ? top : known;
    const innerTop = known === 0 ? top + plan.counters : top;
    if (known === 0) {
      clearCounters(base, plan.counters);
      if (kept !== undefined) counters[kept] = base;
    }
    const finding = this.message(plan, end, base, innerTop, depth + 1);
    if (finding !== undefined) return within(field.field, index, finding);
    // What items counted is done with; what a single message did is kept for more of it.
    if (kept === undefined) this.#top = top;
    return undefined;
  }

  /** Items one behind the other. */
  #packed(field: FieldPlan, end: number, base: number): Finding | undefined {
    const length = this.#length(end);
    if (length < 0) return brokenField(field, BREAKS_OFF);
    const innerEnd = this.#pos + length;
    const counter = base + field.counter;
    if (length === 0 && countOne(counter + 1) > REPEATS_MAX) return tooOften(field);
    while (this.#pos < innerEnd) {
      if (countOne(counter) > field.countMax) return tooMany(field.field);
      if (!this.#skip(field.wire, innerEnd)) return brokenField(field, BREAKS_OFF);
    }
    return undefined;
  }

  /** A pair of a map: its key is field 1, its value field 2. */
  #entry(field: FieldPlan, end: number): Finding | undefined {
    const bytes = this.#bytes;
    let parts = 0;
    let keyStart = 0;
    let keyBytes = 0;
    let valueBytes = 0;
    while (this.#pos < end) {
      const tag = bytes[this.#pos++] ?? 0;
      const number = tag >>> 3;
      if (tag >= 0x80 || number < 1 || number > 2) return brokenField(field, 'a pair has more than a key and a value');
      const wire: WireType = tag & 7;
      if (wire !== (number === 1 ? field.keyWire : field.valueWire)) {
        return brokenField(field, 'a key or value is of another wire type');
      }
      if (++parts > 2 * REPEATS_MAX) return tooOften(field);
      const isText = wire === WireType.LengthDelimited;
      const length = isText ? this.#length(end) : 0;
      if (length < 0 || (!isText && !this.#skip(wire, end))) return brokenField(field, BREAKS_OFF);
      if (number === 1) {
        keyStart = this.#pos;
        keyBytes = length;
      } else valueBytes = length;
      this.#pos += length;
    }
    const isKeyLong = keyBytes > UTF8_CHARACTER_BYTES * field.keyCharactersMax;
    if (!isKeyLong && valueBytes <= UTF8_CHARACTER_BYTES * field.valueCharactersMax) return undefined;
    const shown = bytes.subarray(keyStart, keyStart + Math.min(keyBytes, SHOWN_BYTES));
    return tooManyInPair(field.field, isKeyLong ? 'key' : 'value', Buffer.from(shown).toString());
  }

  /** Whether the value is there as a whole. */
  #skip(wire: WireType, end: number): boolean {
    switch (wire) {
      case WireType.Varint:
        if ((this.#bytes[this.#pos] ?? 0) < 0x80) this.#pos++;
        else if (this.#varint(end) < 0) return false;
        break;
      case WireType.Bit64:
        this.#pos += 8;
        break;
      case WireType.Bit32:
        this.#pos += 4;
        break;
      default: {
        const length = this.#length(end);
        if (length < 0) return false;
        this.#pos += length;
      }
    }
    return this.#pos <= end;
  }

  /** A length within what is left; -1 for any other. */
  #length(end: number): number {
    const first = this.#bytes[this.#pos] ?? 0;
    if (this.#pos >= end) return -1;
    let length = first;
    if (first < 0x80) this.#pos++;
    else length = this.#varint(end);
    return length > end - this.#pos ? -1 : length;
  }

  /** The lower 32 bits of a varint; -1 for one that does not end. */
  #varint(end: number): number {
    const bytes = this.#bytes;
    const start = this.#pos;
    const last = Math.min(end, start + VARINT_BYTES_MAX);
    let value = 0;
    for (let pos = start; pos < last; pos++) {
      const byte = bytes[pos] ?? 0;
      const shift = 7 * (pos - start);
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.#pos = pos + 1;
        return value >>> 0;
      }
    }
    return -1;
  }
}

const BREAKS_OFF = 'it breaks off';

function broken({ desc }: Plan, why: string): Finding {
  return malformed(`cannot decode ${desc.toString()} from binary: ${why}`);
}

function brokenField({ field }: FieldPlan, why: string): Finding {
  return malformed(`cannot decode ${field.toString()} from binary: ${why}`);
}

function tooOften(field: FieldPlan): Finding {
  return brokenField(field, `it is set more than ${REPEATS_MAX} times`);
}
