/** Messages and the service of `kith.contacts`. */
export * from '../gen/kith/contact/v1/contact_pb.ts';
export * from '../gen/kith/contact/v1/contact_service_pb.ts';
