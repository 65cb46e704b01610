/** Mails on their way. */
export * from '../gen/kith/mail/v1/outbox_service_pb.ts';
