/** How much of a pending write a reader must take per second to be called slow instead of standing still. */
const slowestReaderBytesPerSecond = 65_536;

/** The last sign of progress of one writable. */
export interface WriteWatch {
  mark: number;
  since: number;
}

export function watchWrites(now: number): WriteWatch {
  return { mark: 0, since: now };
}

/** One look at a writable. */
export interface PendingWrite {
  /** Whether the writable waits for its reader; one that has nothing to send never stalls. */
  pending: boolean;
  /** Bytes given to the writable that the operating system has not taken. */
  pendingBytes: number;
  /** Any number that changes when the reader has taken something. */
  mark: number;
}

/**
 * Whether a write has made no progress for `stalledWriteMs`, plus one second for each 64 KiB pending: Node reports a
 * large write only once all of it is gone, and a slow reader that takes 64 KiB a second must live.
 */
export function hasStalled(watch: WriteWatch, write: PendingWrite, stalledWriteMs: number, now: number): boolean {
  if (!write.pending || write.mark !== watch.mark) {
    watch.mark = write.mark;
    watch.since = now;
    return false;
  }
  return now - watch.since > stalledWriteMs + (write.pendingBytes * 1000) / slowestReaderBytesPerSecond;
}
