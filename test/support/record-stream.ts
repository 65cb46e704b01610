import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import type {
  ActivityService,
  NewActivitySchema,
  StreamUserActivityRequestSchema,
  StreamUserActivityResponse,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';

type Request = MessageInitShape<typeof StreamUserActivityRequestSchema>;
type NewActivity = MessageInitShape<typeof NewActivitySchema>;

/** A stream that records activities, from the client's side. */
export class RecordStream implements AsyncDisposable {
  readonly #requests: Request[] = [];
  readonly #leaving = new AbortController();
  readonly #answers: AsyncIterator<StreamUserActivityResponse>;
  #wake = (): void => {};
  #isEnded = false;
  #sequence = 0n;

  constructor(client: Client<typeof ActivityService>) {
    this.#answers = client.streamUserActivity(this.#sent(), { signal: this.#leaving.signal })[Symbol.asyncIterator]();
  }

  async *#sent(): AsyncGenerator<Request> {
    for (;;) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      for (let request = this.#requests.shift(); request !== undefined; request = this.#requests.shift()) yield request;
      if (this.#isEnded) return;
      await promise;
    }
  }

  /** Sends one message. Returns its sequence number. */
  send(...activities: NewActivity[]): bigint {
    this.#requests.push({ sequence: ++this.#sequence, activities });
    this.#wake();
    return this.#sequence;
  }

  /** Sends nothing more. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** The next answer. Throws why the stream ended. */
  async answer(): Promise<StreamUserActivityResponse> {
    const { done, value } = await this.#answers.next();
    if (done === true) throw new Error('the stream ended');
    return value;
  }

  /** The answers to come. */
  async rest(): Promise<StreamUserActivityResponse[]> {
    const answers: StreamUserActivityResponse[] = [];
    for (let next = await this.#answers.next(); next.done !== true; next = await this.#answers.next()) {
      answers.push(next.value);
    }
    return answers;
  }

  leave(): void {
    this.#leaving.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave();
    this.end();
    await this.#answers.next().catch(() => {});
  }
}

/** Opens a stream, and waits for the message that says so. Throws what it is refused with. */
export async function startRecordStream(client: Client<typeof ActivityService>): Promise<RecordStream> {
  const stream = new RecordStream(client);
  const { sequence } = await stream.answer();
  if (sequence !== 0n) throw new Error('the first answer is not the one that says that the stream is open');
  return stream;
}
