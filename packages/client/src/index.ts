/** Call Kith from any runtime with `fetch`. The messages of the contract are in `@kith/client/contract`. */
export { cookieStore } from './cookie-store.ts';
export type { Credentials, SessionCredentials, TokenFunction } from './credentials.ts';
export { errorText, type Language, reasonTexts, type Texts, violationText } from './error-texts.ts';
export { createKith, createKithOver, type Kith, type KithOptions, type TransportOptions } from './kith.ts';
export { KithError, type Reason, reasons, type StatusCode, type Violation } from './kith-error.ts';
export type { Listing } from './listing.ts';
export type { CallOptions, Update } from './namespaces.ts';
export type { Recorder, RecorderOptions } from './recorder.ts';
export type { RetryOptions } from './retries.ts';
export { memoryStore, type SessionStore, type StoredSession, webStorageStore } from './session-store.ts';
export type { Challenge, MailedCodeCredentials, PasswordCredentials, SecondFactorCode } from './sign-in.ts';
export type { Watch, WatchEvent, WatchOptions, WatchState } from './watch.ts';
