/** Messages and the service of `kith.activity`. */
export * from '../gen/kith/activity/v1/activity_pb.ts';
export * from '../gen/kith/activity/v1/activity_service_pb.ts';
