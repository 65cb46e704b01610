import { type CountryCode, isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/max';

/** A letter of the keys 2 to 9 of a telephone, and its key (ITU-T E.161). */
const KEYS = new Map(
  ['abc', 'def', 'ghi', 'jkl', 'mno', 'pqrs', 'tuv', 'wxyz'].flatMap((letters, i) =>
    Array.from(letters, (letter) => [letter, String(i + 2)] as const),
  ),
);

/** Fewer letters than this are no part of a number: "ext", "x" and "p" are not. */
const LETTERS_MIN = 4;

/** Whether a code of ISO 3166-1 is that of a region that has phone numbers. Case matters: upper. */
export function isPhoneRegion(code: string): code is CountryCode {
  return isSupportedCountry(code);
}

/** The region that a language tag names, if it has phone numbers; undefined for one that names none, such as "de". */
export function phoneRegionOf(locale: string): CountryCode | undefined {
  if (locale === '') return undefined;
  try {
    const region = new Intl.Locale(locale).region ?? '';
    return isPhoneRegion(region) ? region : undefined;
  } catch {
    return undefined; // of a version with other rules
  }
}

/** Whether a region may help to read a number. */
export function needsRegion(number: string): boolean {
  return !/^[^\p{L}\p{N}]*[+＋]/u.test(number) && /\p{Nd}/u.test(number);
}

/**
 * A phone number as people write it in E.164 (ITU-T), with the plus sign; undefined if it cannot be read as a number
 * that there may be. Without a country code it is one of the region. Extensions are left out, letters are the keys
 * that have them, and "00" stands for "+" where the region has no other meaning for it.
 */
export function e164Of(number: string, region: CountryCode | undefined): string | undefined {
  const text = number.normalize('NFKC'); // full-width digits and signs
  return read(text, region) ?? read(text.replace(/^\s*00/, '+'), undefined) ?? read(onKeys(text), region);
}

/** The digits of a number in E.164 as they are dialled within its country, such as 02079460958 for +442079460958. */
export function nationalDigitsOf(e164: string): string {
  return parsePhoneNumberFromString(e164)?.formatNational().replaceAll(/\D/g, '') ?? '';
}

function read(number: string | undefined, region: CountryCode | undefined): string | undefined {
  if (number === undefined) return undefined;
  const parsed = parsePhoneNumberFromString(number, region);
  return parsed?.isValid() === true ? parsed.number : undefined;
}

/** "1-800-FLOWERS" as the keys that are pressed for it; undefined unless all of it is a number with a word in it. */
function onKeys(number: string): string | undefined {
  if (!/^\s*\+?\(?\d[\dA-Za-z\s().-]*$/.test(number)) return undefined;
  if (number.replaceAll(/[^A-Za-z]/g, '').length < LETTERS_MIN) return undefined;
  return number.toLowerCase().replaceAll(/[a-z]/g, (letter) => KEYS.get(letter)!);
}
