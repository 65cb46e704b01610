/** The messages, enums and services of the contract, with their schemas for `create`, `toJson` and the like. */
export * from './gen/kith/access/v1/role_pb.ts';
export * from './gen/kith/activity/v1/activity_pb.ts';
export * from './gen/kith/activity/v1/activity_service_pb.ts';
export * from './gen/kith/admin/v1/admin_service_pb.ts';
export * from './gen/kith/auth/v1/api_key_service_pb.ts';
export * from './gen/kith/auth/v1/auth_service_pb.ts';
export * from './gen/kith/auth/v1/revocation_service_pb.ts';
export * from './gen/kith/auth/v1/second_factor_service_pb.ts';
export * from './gen/kith/auth/v1/session_service_pb.ts';
export * from './gen/kith/auth/v1/signing_key_service_pb.ts';
export * from './gen/kith/contact/v1/contact_pb.ts';
export * from './gen/kith/contact/v1/contact_service_pb.ts';
export * from './gen/kith/error/v1/error_pb.ts';
export * from './gen/kith/mail/v1/outbox_service_pb.ts';
export * from './gen/kith/user/v1/user_pb.ts';
export * from './gen/kith/user/v1/user_service_pb.ts';
