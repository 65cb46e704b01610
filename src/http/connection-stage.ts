/** What the port does for one connection while its protocol is undecided, HTTP/1.1 or HTTP/2. */
export interface ConnectionStage {
  /** End whatever has outlived its time. `now` is a reading of the monotonic clock, milliseconds. */
  check(now: number): void;
  /** End a connection that makes the event loop late: called while it is late, between two checks. */
  checkLoad?(): void;
  /** The port is closing: accept no further requests and end as soon as the open ones are answered. */
  retire(): void;
}
