/** The messages, enums and services of the contract, with their schemas for `create`, `toJson` and the like. */
export * from './contract/activity.ts';
export * from './contract/admin.ts';
export * from './contract/api-keys.ts';
export * from './contract/auth.ts';
export * from './contract/contacts.ts';
export * from './contract/errors.ts';
export * from './contract/invitations.ts';
export * from './contract/labels.ts';
export * from './contract/outbox.ts';
export * from './contract/revocations.ts';
export * from './contract/roles.ts';
export * from './contract/second-factor.ts';
export * from './contract/sessions.ts';
export * from './contract/signing-keys.ts';
export * from './contract/users.ts';
