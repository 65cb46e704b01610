/** Messages and the service of `kith.apiKeys`. */
export * from '../gen/kith/auth/v1/api_key_service_pb.ts';
