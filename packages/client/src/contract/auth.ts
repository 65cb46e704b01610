/** Messages and the service of `kith.auth`. */
export * from '../gen/kith/auth/v1/auth_service_pb.ts';
