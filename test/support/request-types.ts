import type { DescMessage } from '@bufbuild/protobuf';
import { publicServices, SERVICES } from '../../src/services.ts';

/** The request types of all methods that are served. */
export function requestTypes(): readonly DescMessage[] {
  const services = [...SERVICES, ...publicServices({ reflection: true })];
  return [...new Set(services.flatMap(({ methods }) => methods).map(({ input }) => input))];
}
