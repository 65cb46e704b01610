import type { DescMessage, DescMethod, DescService, MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'vitest';
import type { Role } from '../../gen/kith/access/v1/role_pb.ts';
import type { Kith, SignedIn } from './kith.ts';

/** A call that succeeds: who makes it, with what, and what the answer must match. */
export interface Example<I extends DescMessage = DescMessage> {
  readonly accessToken?: string;
  readonly request: MessageInitShape<I>;
  /** For `toMatchObject`. */
  readonly answer: object;
  /** Paths in the answer where nothing must be. */
  readonly absent?: readonly string[];
  /** Checks the effect that the answer does not show. */
  readonly verify?: () => Promise<void>;
}

/** Who takes part in an example. */
export interface Cast {
  readonly kith: Kith;
  /** Who makes the call: somebody with this role, default viewer, or whom the test has chosen. */
  caller(role?: Role): Promise<SignedIn>;
  /** A user whom the call is about. A new one each time. */
  subject(): Promise<SignedIn>;
}

/** Makes what an example needs, so that one can be had for every way to call. */
export type MakeExample<I extends DescMessage = DescMessage> = (cast: Cast) => Promise<Example<I>>;

/**
 * Examples of methods by their local names. Of a stream, the request is one message, and the answer is not looked at:
 * streams have tests of their own, such as src/activity/activity.test.ts.
 */
type MethodExamples<T extends { readonly method: Record<string, DescMethod> }> = {
  readonly [K in keyof T['method']]?: MakeExample<T['method'][K]['input']>;
};

/** What an `examples.testkit.ts` exports. */
export interface ServiceExamples {
  readonly service: DescService;
  readonly examples: Readonly<Record<string, MakeExample>>;
}

/** Examples of a service, for those of its methods that are not derived: see examples.ts. */
export function examplesOf<T extends DescService & { readonly method: Record<string, DescMethod> }>(
  service: T,
  examples: MethodExamples<T>,
): ServiceExamples {
  return { service, examples: examples as ServiceExamples['examples'] };
}

/** What a timestamp or a duration of an answer matches. */
export const TIME = { seconds: expect.any(BigInt) };
/** What an etag of an answer matches. */
export const ETAG = expect.stringMatching(/./);
/** What the tokens of an answer match. */
export const TOKENS = {
  accessToken: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
  accessTokenExpireTime: TIME,
  accessTokenLifetime: TIME,
  refreshToken: expect.stringMatching(/./),
  refreshTokenExpireTime: TIME,
};
/** What the id of a signing key matches. */
export const KID = expect.stringMatching(/^[\w-]{43}$/);
