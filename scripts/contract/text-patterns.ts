/** Neither control characters nor what else `line` refuses, in ranges of UTF-16 that every engine reads alike. */
const REFUSED = '\\u0000-\\u001F\\u007F-\\u009F\\u2028-\\u202E\\u2066-\\u2069\\uFFFD';

/**
 * The rules of kith.text.v1 as patterns of ECMA-262 for the OpenAPI document, by name. They say exactly what the rules
 * of the contract do, but for lone surrogates, which no JSON text in UTF-8 holds. Undefined for a rule that takes
 * Unicode's categories, which many engines do not have.
 */
export const TEXT_PATTERNS: Readonly<Record<string, string | undefined>> = {
  line: `^[^${REFUSED}]*$`,
  lines: `^([^${REFUSED}]|[\\n\\r\\t])*$`,
  visible: undefined,
  username: '^[A-Za-z0-9][A-Za-z0-9._-]{1,62}[A-Za-z0-9]$',
  action: '^[a-z0-9_]+(\\.[a-z0-9_]+)*$',
  totp_code: '^[ -]*([0-9][ -]*){6}$',
  web_url: '^[Hh][Tt][Tt][Pp][Ss]?://[^/]',
  https_url: "^$|^[Hh][Tt][Tt][Pp][Ss]://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~!$&'()*+,;=:@/?#%-]*)?$",
  language_tag: '^$|^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$',
  time_zone: '^$|^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$',
};
