/** Messages and the service of `kith.invitations`. */
export * from '../gen/kith/auth/v1/invitation_service_pb.ts';
