import { fromBinary, getOption, hasOption } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';

/** What an element without the option is told, by the name of the option. */
const absent = new Map<string, unknown>();

/**
 * What getOption of Protobuf-ES answers, in a tenth of its time: a start asks thousands of times, mostly for what is not
 * there. Values are shared by those who ask, who must not change them.
 */
export const optionOf: typeof getOption = (element, option) => {
  type Value = ReturnType<typeof getOption<typeof option, typeof element>>;
  const { typeName, number, fieldKind, message } = option;
  if (!hasOption(element, option)) {
    if (!absent.has(typeName)) absent.set(typeName, getOption(element, option));
    return absent.get(typeName) as Value;
  }
  if (fieldKind !== 'message' || option.delimitedEncoding) return getOption(element, option);
  // Parts of a message are merged as if they were one behind the other.
  const parts = element.proto.options?.$unknown?.filter(({ no }) => no === number) ?? [];
  const bytes = Buffer.concat(parts.map(({ data }) => new BinaryReader(data).bytes()));
  return fromBinary(message, bytes) as Value;
};
