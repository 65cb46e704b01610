/** Messages and the service of `kith.users`. */
export * from '../gen/kith/user/v1/user_pb.ts';
export * from '../gen/kith/user/v1/user_service_pb.ts';
