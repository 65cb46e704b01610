import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { codeFromString, codeToHttpStatus, codeToString } from '@connectrpc/connect/protocol-connect';
import { ErrorReasonSchema, status_code as statusCodeOption } from '../../gen/kith/error/v1/error_pb.ts';
import { readAccessRules } from '../../src/rpc/access.ts';
import { SERVICES } from '../../src/services.ts';
import type { CommentOf } from '../../src/rpc/contract-comments.ts';
import { constraintsOf, isRequired, messageRules } from './rules.ts';
import { messagesFrom } from './types.ts';

/** A reason for which a call is refused. */
export interface Reason {
  /** In the contract: ERROR_REASON_USER_NOT_FOUND. */
  readonly name: string;
  /** Without what all have in front: USER_NOT_FOUND. */
  readonly shortName: string;
  readonly number: number;
  readonly code: Code;
  /** When it is sent: the comment of the contract without its last paragraph. Markdown. */
  readonly comment: string;
  /** What the caller does then: the last paragraph. Markdown. */
  readonly whatToDo: string;
}

/** Who may call what, as the server reads it. */
export const ACCESS = readAccessRules(SERVICES, []);

/** Every reason, by its name in the contract. Throws for one whose comment does not say what to do. */
export function readReasons(commentOf: CommentOf): ReadonlyMap<string, Reason> {
  const reasons = ErrorReasonSchema.values.filter(({ number }) => number !== 0);
  return new Map(
    reasons.map((value) => {
      const { name, number, localName } = value;
      const code = getOption(value, statusCodeOption) as number as Code;
      const paragraphs = commentOf(value).split('\n\n');
      const whatToDo = paragraphs.pop()!;
      if (paragraphs.length === 0) throw new Error(`${name}: add a paragraph to its comment that says what to do`);
      return [name, { name, shortName: localName, number, code, comment: paragraphs.join('\n\n'), whatToDo }];
    }),
  );
}

/** The HTTP statuses of refusals that come before there is a call, where they are not those of the code. */
const HTTP_STATUSES: ReadonlyMap<string, string> = new Map([
  ['METHOD_UNKNOWN', '404; 405 for another HTTP method, 505 for a bidirectional stream over HTTP/1.1'],
  ['ENCODING_UNSUPPORTED', '415 for the content type, 501 for the compression'],
]);

/** With which HTTP status a reason comes over Connect. */
export function httpStatusOf({ shortName, code }: Reason): string {
  return HTTP_STATUSES.get(shortName) ?? String(codeToHttpStatus(code));
}

/** Any call can end with these, whatever it does. */
export const REASONS_OF_ANY_CALL: readonly string[] = [
  'MALFORMED_REQUEST',
  'FIELD_UNKNOWN',
  'REQUEST_TOO_LARGE',
  'METHOD_UNKNOWN',
  'ENCODING_UNSUPPORTED',
  'DEADLINE_EXCEEDED',
  'CANCELED',
  'SERVER_UNAVAILABLE',
  'SERVER_BUSY',
  'BUDGET_EXCEEDED',
  'INTERNAL',
].map(reasonNamed);

/** Any call that takes a caller can end with these. */
export const REASONS_OF_SIGNED_IN: readonly string[] = [
  'ACCESS_TOKEN_MISSING',
  'ACCESS_TOKEN_INVALID',
  'ACCESS_TOKEN_EXPIRED',
  'SESSION_ENDED',
  'API_KEY_INVALID',
].map(reasonNamed);

function reasonNamed(shortName: string): string {
  return `ERROR_REASON_${shortName}`;
}

/**
 * The reasons that a method is refused for beside those of any call: which its comment names, also by way of another
 * method (`with NOT_FOUND as GetUser does`), and which follow from who may call it and from the rules of its fields.
 */
export function reasonsOf(method: DescMethod, reasons: ReadonlyMap<string, Reason>, commentOf: CommentOf): Reason[] {
  const names = new Set([
    ...namedBy(method, reasons, commentOf),
    ...messagesFrom([method.input]).flatMap(({ fields }) => fields.flatMap((field) => namesIn(commentOf(field)))),
    ...derived(method),
  ]);
  return [...reasons.values()].filter(({ name }) => names.has(name));
}

function namedBy(method: DescMethod, reasons: ReadonlyMap<string, Reason>, commentOf: CommentOf): string[] {
  const comment = commentOf(method).replaceAll('\n', ' ');
  const borrowed = [...comment.matchAll(BORROWED)].flatMap(({ groups }) => {
    const { codes = 'INVALID_ARGUMENT', as, refuses } = groups ?? {};
    const other = methodNamed(as ?? refuses ?? '');
    const wanted = new Set(codes.split(' and ').map((code) => codeFromString(code.toLowerCase())));
    return namedBy(other, reasons, commentOf).filter((name) => wanted.has(reasons.get(name)?.code));
  });
  return [...namesIn(comment), ...borrowed];
}

/** "with INVALID_ARGUMENT and RESOURCE_EXHAUSTED for the password as CreateUser does", "that ChangePassword would refuse". */
const BORROWED =
  /with (?<codes>[A-Z_]+(?: and [A-Z_]+)?)[^.()]*?\bas (?<as>[A-Z]\w+) does\b|that (?<refuses>[A-Z]\w+) would refuse/g;

function namesIn(comment: string): string[] {
  return comment.match(/\bERROR_REASON_[A-Z_]+/g) ?? [];
}

function methodNamed(name: string): DescMethod {
  const method = SERVICES.flatMap(({ methods }) => methods).find((each) => each.name === name);
  if (method === undefined) throw new Error(`a comment speaks of the method ${name}, which there is not`);
  return method;
}

function derived(method: DescMethod): string[] {
  const { access, guarded } = ACCESS.of(method);
  const names: string[] = [];
  if (hasRules(method)) names.push('FIELDS_INVALID');
  if (access.kind !== 'public' && access.takesFreshSignIn) names.push('FRESH_SIGN_IN_REQUIRED');
  if (access.kind === 'permission') names.push('PERMISSION_MISSING');
  if (access.kind === 'signed_in' && !access.withApiKeys) names.push('SESSION_REQUIRED');
  if (guarded.length > 0) names.push('FIELD_NEEDS_PERMISSION');
  if (method.input.fields.some(({ name }) => name === 'page_token')) names.push('PAGE_TOKEN_INVALID');
  return names.map(reasonNamed);
}

function hasRules({ input }: DescMethod): boolean {
  return messagesFrom([input]).some((desc) => {
    const hasFieldRules = desc.fields.some((field) => {
      const { ignoreZero: _, normalization: __, ...rules } = constraintsOf(field);
      return Object.keys(rules).length > 0;
    });
    return hasFieldRules || messageRules(desc).length > 0 || desc.oneofs.some(isRequired);
  });
}

/** As Connect spells it over HTTP: not_found. */
export function codeName(code: Code): string {
  return codeToString(code);
}

/** As gRPC spells it: NOT_FOUND. */
export function grpcCodeName(code: Code): string {
  return codeToString(code).toUpperCase();
}
