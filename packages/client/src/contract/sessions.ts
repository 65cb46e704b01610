/** Messages and the service of `kith.sessions`. */
export * from '../gen/kith/auth/v1/session_service_pb.ts';
