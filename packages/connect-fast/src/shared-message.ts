import type { Message } from '@bufbuild/protobuf';

/** What the frames that are kept may take together, bytes: those of the messages that are being sent to many just now. */
const KEPT_MAX_BYTES = 4_194_304;

/** The frames of one message by the format they are for. */
type Frames = Map<string, Buffer>;

const shared = new WeakMap<Message, Frames>();

/** Those that have frames, the oldest first. */
const kept = new Map<Frames, number>();
let keptBytes = 0;

/**
 * Says that a message goes to many streams as it is: each format's frame of it is then made
 * once and kept for a while. It must not be changed any more. Returns it.
 */
export function shareMessage<M extends Message>(message: M): M {
  shared.set(message, new Map());
  return message;
}

/** The frame of a shared message that was made for a format; `make` makes it. Of another message it is made each time. */
export function frameOf(
  message: Message,
  format: string,
  make: () => Buffer | Promise<Buffer>,
): Buffer | Promise<Buffer> {
  const frames = shared.get(message);
  if (frames === undefined) return make();
  const known = frames.get(format);
  if (known !== undefined) return known;
  const made = make();
  if (!(made instanceof Promise)) return keep(frames, format, made);
  return made.then((frame) => frames.get(format) ?? keep(frames, format, frame));
}

function keep(frames: Frames, format: string, frame: Buffer): Buffer {
  frames.set(format, frame);
  kept.set(frames, (kept.get(frames) ?? 0) + frame.length);
  keptBytes += frame.length;
  for (const [oldest, bytes] of kept) {
    if (keptBytes <= KEPT_MAX_BYTES) break;
    oldest.clear();
    kept.delete(oldest);
    keptBytes -= bytes;
  }
  return frame;
}
