/** Messages and the service of `kith.outbox`. */
export * from '../gen/kith/mail/v1/outbox_service_pb.ts';
