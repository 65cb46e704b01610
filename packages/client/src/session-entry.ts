/** Sign in and stay signed in, without the services of the contract: for a sign-in page that has to be small. */
export { cookieStore } from './cookie-store.ts';
export { errorText, type Language, type Texts, violationText } from './error-texts.ts';
export type { User } from './gen/kith/user/v1/user_pb.ts';
export { KithError, type Reason, type Violation } from './kith-error.ts';
export { Session, type SessionOptions } from './session.ts';
export type { SessionStore, StoredSession } from './session-store.ts';
export type { Challenge, MailedCodeCredentials, PasswordCredentials, SecondFactorCode } from './sign-in.ts';
