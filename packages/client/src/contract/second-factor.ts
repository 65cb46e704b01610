/** Messages and the service of `kith.secondFactor`. */
export * from '../gen/kith/auth/v1/second_factor_service_pb.ts';
