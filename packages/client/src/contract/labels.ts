/** Messages and the service of `kith.labels`. */
export * from '../gen/kith/contact/v1/label_service_pb.ts';
