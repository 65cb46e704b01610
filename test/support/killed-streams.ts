import { randomUUID } from 'node:crypto';
import { createClient } from '@connectrpc/connect';
import { Http2SessionManager } from '@connectrpc/connect-node';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { grpc, type Kith } from './kith.ts';
import { type RecordStream, startRecordStream } from './record-stream.ts';

export interface KilledStreamsOptions {
  readonly activities: number;
  readonly perMessage: number;
  readonly kills: number;
  readonly accessToken: string;
  /** Whether so many answers are enough before the kill of this number, counted from 0. */
  readonly answersBeforeKill: () => number;
}

/**
 * Records activities over one stream after another, each cut off at some point of it, and sends again what was not
 * answered. Returns the ids that were to be recorded, in their order, and how many the answers say were recorded before.
 */
export async function recordOverKilledStreams(
  { address }: Kith,
  { activities, perMessage, kills, accessToken, answersBeforeKill }: KilledStreamsOptions,
): Promise<{ ids: string[]; repeated: number }> {
  const ids = Array.from({ length: activities }, () => randomUUID());
  const messages = Array.from({ length: Math.ceil(activities / perMessage) }, (_, i) =>
    ids.slice(i * perMessage, (i + 1) * perMessage).map((id) => ({ id, action: 'killed.stream' })),
  );
  let answered = 0;
  let repeated = 0;
  for (let killed = 0; answered < messages.length; killed++) {
    const isLast = killed >= kills;
    const sessions = new Http2SessionManager(address);
    const stream = await startRecordStream(createClient(ActivityService, grpc(address, accessToken, sessions)));
    for (const message of messages.slice(answered)) stream.send(...message);
    stream.end();
    const end = isLast ? messages.length : Math.min(messages.length, answered + answersBeforeKill());
    repeated += await takeAnswers(stream, end - answered);
    answered = end;
    // Half of them as a client that leaves, half as a connection that breaks.
    if (killed % 2 === 0) stream.leave();
    sessions.abort();
  }
  return { ids, repeated };
}

/** Takes so many answers. Returns how many activities they say were recorded before. */
async function takeAnswers(stream: RecordStream, count: number): Promise<number> {
  let repeated = 0;
  for (let i = 0; i < count; i++) {
    const { refusal, repeatedCount } = await stream.answer();
    if (refusal !== undefined) throw new Error(refusal.message);
    repeated += repeatedCount;
  }
  return repeated;
}
