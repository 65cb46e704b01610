/** What Connect and protobuf say of a request in words of their own, and what a caller is told in place of it. */
const REWRITTEN: readonly (readonly [RegExp, string])[] = [
  [
    /^message size (\d+) is larger than configured readMaxBytes (\d+)$/,
    'the message has $1 bytes, and this method takes $2 at the most',
  ],
  [
    /^message (?:size )?is larger than configured readMaxBytes (\d+)( after decompression)?$/,
    'the message is larger than the $1 bytes that this method takes$2',
  ],
  [
    /^cannot decode message google\.protobuf\.Duration from JSON: .*$/s,
    '$&: a duration is a number of seconds followed by s, such as "600s"',
  ],
  [
    /^cannot decode message google\.protobuf\.Timestamp from JSON: .*$/s,
    '$&: a time is a date and time of RFC 3339, such as "2026-01-31T12:00:00Z"',
  ],
  [
    /^cannot decode enum (\S+\.)?(\w+) from JSON: .*$/s,
    '$&: not a name of a value of $2 in the contract, which are in capitals and begin with the name of the enum',
  ],
];

/** Says in plain words what a library said of a request; any other text stays as it is. */
export function inPlainWords(text: string): string {
  const found = REWRITTEN.find(([pattern]) => pattern.test(text));
  return found === undefined ? text : text.replace(...found);
}
