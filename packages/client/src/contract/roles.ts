/** Roles and permissions. */
export * from '../gen/kith/access/v1/role_pb.ts';
