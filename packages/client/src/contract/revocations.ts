/** Messages and the service of `kith.revocations`. */
export * from '../gen/kith/auth/v1/revocation_service_pb.ts';
