export type { Check } from './checks.ts';
export { findHeader, hasEnded, isFast } from './context.ts';
export { createFastHandlers, type FastHandlers } from './fast-handlers.ts';
export { SMALL_BYTES } from './fast-path.ts';
export { encodeMessage } from './grpc-message.ts';
export type { Codec, FastHandlersOptions, Hold, RequestHead } from './options.ts';
export { shareMessage } from './shared-message.ts';
export { parseConnectTimeout, parseGrpcTimeout, TIMER_MAX_MS } from './timeouts.ts';
