/** The detail of a refusal, and all reasons. */
export * from '../gen/kith/error/v1/error_pb.ts';
