/** What a port holds and has refused, for metrics. The port writes it, everybody else reads. */
export interface PortCounters {
  /** Connections that came, refused ones too. */
  connectionsAccepted: number;
  /** Connections that were closed on arrival, since too many were open. */
  connectionsRefused: number;
  connectionsOpen: number;
  /** HTTP/2 streams that are open, on all connections together. */
  http2StreamsOpen: number;
}

export function createPortCounters(): PortCounters {
  return { connectionsAccepted: 0, connectionsRefused: 0, connectionsOpen: 0, http2StreamsOpen: 0 };
}
