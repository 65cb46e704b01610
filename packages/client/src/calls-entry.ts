/** Call the services that a page needs, and bundle no others: `createCalls(transport, options).of(UserService, 'User')`. */
export { type Calls, type CallsOptions, createCalls } from './calls.ts';
export { errorText, type Language, violationText } from './error-texts.ts';
export { KithError, type Reason, type Violation } from './kith-error.ts';
export type { Listing } from './listing.ts';
export type { CallOptions, Namespace } from './namespaces.ts';
export { watchOver } from './shared-watch.ts';
export type { Watch, WatchEvent, WatchOptions, WatchState } from './watch.ts';
