/** How calls are refused, as `refusalOf` says it: the reasons that several tests expect. */

export const FIELDS_INVALID = { code: 'InvalidArgument', reason: 'FIELDS_INVALID' };
export const SESSION_ENDED = { code: 'Unauthenticated', reason: 'SESSION_ENDED' };
export const REFRESH_TOKEN_REUSED = { code: 'Unauthenticated', reason: 'REFRESH_TOKEN_REUSED' };
export const CREDENTIALS_INVALID = { code: 'Unauthenticated', reason: 'CREDENTIALS_INVALID' };
export const PERMISSION_MISSING = { code: 'PermissionDenied', reason: 'PERMISSION_MISSING' };
export const FRESH_SIGN_IN_REQUIRED = { code: 'Unauthenticated', reason: 'FRESH_SIGN_IN_REQUIRED' };
export const SESSION_REQUIRED = { code: 'PermissionDenied', reason: 'SESSION_REQUIRED' };
export const CHALLENGE_INVALID = { code: 'Unauthenticated', reason: 'CHALLENGE_INVALID' };
export const API_KEY_INVALID = { code: 'Unauthenticated', reason: 'API_KEY_INVALID' };
export const USER_NOT_FOUND = { code: 'NotFound', reason: 'USER_NOT_FOUND' };
export const TOTP_CODE_WRONG = { code: 'PermissionDenied', reason: 'TOTP_CODE_WRONG' };
export const ETAG_MISMATCH = { code: 'Aborted', reason: 'ETAG_MISMATCH' };
export const REQUEST_ID_REUSED = { code: 'InvalidArgument', reason: 'REQUEST_ID_REUSED' };
export const PAGE_TOKEN_INVALID = { code: 'InvalidArgument', reason: 'PAGE_TOKEN_INVALID' };
export const RESOURCE_DELETED = { code: 'FailedPrecondition', reason: 'RESOURCE_DELETED' };
export const RESOURCE_NOT_DELETED = { code: 'FailedPrecondition', reason: 'RESOURCE_NOT_DELETED' };
