/** Messages and the service of `kith.signingKeys`. */
export * from '../gen/kith/auth/v1/signing_key_service_pb.ts';
