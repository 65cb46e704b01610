import type { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';

/** A reason of the contract, in lower case without what all have in front. */
export type ReasonName = Exclude<Lowercase<keyof typeof ErrorReason>, 'unspecified'>;

/**
 * What the caller of a refused call does, for each reason: what docs/reference/errors.md and the OpenAPI document say
 * beside the comment of the contract. Markdown. The compiler asks for one for a new reason.
 */
export const WHAT_TO_DO: Readonly<Record<ReasonName, string>> = {
  malformed_request:
    'Mend the client: it sends something else than the contract says. The message names the field or the fault. Calling again changes nothing.',
  fields_invalid:
    'Show each violation beside its field: `field` of the `buf.validate.Violations` detail has the path, `ruleId` the rule. Send the request again when it is changed.',
  field_unknown:
    'The client was generated from a newer contract than the server has. Update the server, or leave the field out.',
  request_too_large: 'Send less in one call, such as fewer activities. The message names the limit in bytes.',
  method_unknown: 'Check the path, the HTTP method and the version of the server. A bidirectional stream needs HTTP/2.',
  encoding_unsupported:
    'Send `application/json` or `application/proto` (Connect), `application/grpc` or `application/grpc-web`, compressed with gzip, brotli or not at all.',
  deadline_exceeded:
    'Read whether the write took place, or repeat it with the same `request_id` and a longer deadline. Reads can be repeated as they are.',
  canceled: 'Nothing, as a rule: the client itself ended the call.',
  server_unavailable:
    'Repeat reads, and writes with a `request_id` or an `etag`, after a pause that grows and has some chance in it. Connect watches again with the last cursor.',
  server_busy:
    'Wait for `retry_after_seconds` or the header `retry-after`, then call again. An operator who sees it often looks at the budget that `budget` names.',
  internal: 'Report the `x-request-id` of the answer to whoever runs the server. Repeat as for SERVER_UNAVAILABLE.',
  service_unknown: 'Ask for the health of a service that the server has: those of reflection, or `""` for all of it.',
  budget_exceeded:
    'Have fewer calls under way at once, close watches that nobody reads, or remove stored data, whichever `budget` names. Where `retry_after_seconds` is given, waiting is enough.',
  access_token_missing: 'Send `authorization: Bearer` with an access token or an API key.',
  access_token_invalid:
    'Check that the token is an access token (not a refresh token) and of this server. If it is, sign in again.',
  access_token_expired:
    'Refresh with `RefreshAccessToken` and repeat the call once. This is the only reason for which to refresh.',
  session_ended: 'Drop both tokens and have the user sign in again.',
  refresh_token_invalid: 'Drop both tokens and have the user sign in again.',
  refresh_token_reused:
    'Drop both tokens and have the user sign in again. If no copy of the client can have sent the older token, tell the user that somebody else may have had it.',
  credentials_invalid:
    'Tell the user that the sign-in failed, without saying which part was wrong. After several failures, say to wait some minutes.',
  permission_missing:
    'Calling again changes nothing: give the user another role, or create an API key that has the permission in `permission`.',
  field_needs_permission:
    'Leave out the field that `field` names, or call as somebody who has the permission in `permission`.',
  fresh_sign_in_required:
    'Ask for the password again, sign in with `Login`, and repeat the call with the new access token. Refreshing is not enough.',
  session_required: 'Call with the access token of a user who signed in, not with an API key.',
  api_key_required: 'Send the API key itself as the bearer token, not an access token.',
  too_many_attempts: 'Wait for `retry_after_seconds` before the next sign-in from this address.',
  challenge_invalid: 'Begin again with `Login`.',
  challenge_step_wrong: 'Answer the step that `step` names, with one of the `methods` of the challenge.',
  second_factor_wrong:
    'Ask for another code: the challenge is still good. After several failures, wait some minutes. A clock that is wrong on the phone makes all codes wrong.',
  api_key_invalid: 'Create a new API key and put it in place of this one.',
  user_not_found: 'Check the id. A user who was deleted longer ago than the retention is gone for good.',
  username_taken: 'Ask for another username.',
  email_taken: 'Ask for another email address, or have the user sign in with the account that has it.',
  last_admin: 'Make another user an active admin first.',
  password_wrong: 'Ask for the current password again. After several failures, wait some minutes.',
  password_is_identifier: 'Ask for another password, which is neither the username nor the email address.',
  password_too_common: 'Ask for another, less common password.',
  password_hash_unsupported:
    'Check the format ([importing users](../import-users.md)); a user whose hash cannot be imported is created with a password and `must_change_password`.',
  password_unchanged: 'Ask for a password that is not the present one.',
  session_not_found: 'Nothing: the session is over. List the sessions again.',
  second_factor_enabled: 'Call `DisableTotp` first, where the authenticator app is to be replaced.',
  second_factor_not_enabled: 'Nothing to remove or replace: begin with `EnrollTotp` to add one.',
  totp_not_enrolled: 'Call `EnrollTotp` and show the new secret.',
  totp_code_wrong: 'Ask for another code. After several failures, wait some minutes.',
  api_key_not_found: 'Nothing: the key is gone. List the keys again.',
  api_key_limit_reached: 'Revoke keys that are not used any more: `last_used_time` tells.',
  contact_not_found:
    "Check the id, and whose access token the call carries: another user's contacts look like missing ones.",
  contact_empty: 'Ask for a name, a company, an email address or a phone number.',
  contact_limit_reached:
    'Delete contacts, which count until they are purged, or have the operator raise `KITH_CONTACTS_PER_USER`.',
  region_unknown: 'Send a code of ISO 3166-1 with two letters, such as `GB`, or none.',
  etag_mismatch:
    'Read the resource again, apply the change to what it is now, and send that with the new `etag`. Do not repeat the call as it was.',
  request_id_reused: 'Choose a new UUID for each new request, and keep it only to repeat the same one.',
  page_token_invalid: 'List again from the first page. Keep all fields but `page_size` the same between pages.',
  resource_deleted: 'Undelete it first, or treat it as gone.',
  resource_not_deleted: 'Nothing: it is there. Read it again.',
  action_reserved: 'Choose another name for the action, such as one that begins with the name of your service.',
  cursor_invalid:
    'Send the cursor as it was received. Without one, list, and watch from the `watch_cursor` of the first page.',
  cursor_expired: 'List what there is, and watch from the `watch_cursor` of the first page: there is a gap before it.',
  consumer_too_slow: 'Connect again with the last cursor received, and read the stream without waiting in between.',
  mailed_code_invalid:
    'Ask for the code again, or for another mail with `RequestPasswordReset`. Wait after several attempts.',
  mail_not_found: 'Nothing: mails are removed after 30 days. List them again.',
  mail_sent: 'Have the user ask for another one.',
  mail_expired: 'Have the user ask for another one.',
  activity_id_taken: 'Choose a new id for another activity; repeat an activity with the id it had, unchanged.',
  user_differs:
    'Leave the user as it is, or import the row with `IMPORT_CONFLICT_UPDATE` to change the user to what the row says.',
  external_id_taken: 'Look up who has it (`ListUsers`), and update that user or choose another id.',
  metadata_invalid:
    'Send one JSON object as text, such as `{"plan":"pro"}`: `JSON.stringify` of an object in JavaScript, `json.dumps` of a dict in Python.',
  metadata_too_large:
    'Keep less with the user: `limit` is the most bytes or members. Larger things belong in the service that uses them.',
  locale_invalid: 'Send a language tag (BCP 47), as `Intl.getCanonicalLocales` gives it.',
  time_zone_unknown:
    'Send a name of the IANA database, as `Intl.DateTimeFormat().resolvedOptions().timeZone` gives it. A newer name takes a newer server.',
};
