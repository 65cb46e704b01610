/** Messages and the service of `kith.admin`. */
export * from '../gen/kith/admin/v1/admin_service_pb.ts';
