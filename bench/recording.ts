import { randomUUID } from 'node:crypto';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { measured, type Run, type ServingProcess } from './load.ts';

/** How activities are recorded: over one stream, or by calls of which so many are under way at once. */
export interface Recording {
  readonly over: 'stream' | 'calls';
  readonly accessToken: string;
  readonly userId: string;
  readonly perMessage: number;
  readonly atOnce: number;
}

/** Records activities, each with an id of its own, for so many seconds; each counts as a request. Throws when one is refused. */
export async function loadRecording(server: ServingProcess, recording: Recording, seconds: number): Promise<Run> {
  const sessions = new Http2SessionManager(server.address);
  const client = createClient(
    ActivityService,
    createGrpcTransport({ baseUrl: server.address, sessionManager: sessions }),
  );
  try {
    return await measured(server, async () => {
      const startMs = performance.now();
      const isOver = () => performance.now() - startMs >= seconds * 1000;
      const recorded = await (recording.over === 'stream' ? recordOverStream : recordByCalls)(
        client,
        recording,
        isOver,
      );
      return { perSecond: recorded / ((performance.now() - startMs) / 1000), requests: recorded };
    });
  } finally {
    sessions.abort();
  }
}

type ActivityClient = ReturnType<typeof createClient<typeof ActivityService>>;

function batchOf({ userId, perMessage }: Recording) {
  return Array.from({ length: perMessage }, () => ({
    id: randomUUID(),
    userId,
    action: 'page.viewed',
    details: 'The page of a product',
    attributes: { path: '/products/1234', referrer: 'https://example.org/' },
  }));
}

const headersOf = ({ accessToken }: Recording) => ({ authorization: `Bearer ${accessToken}` });

async function recordOverStream(client: ActivityClient, recording: Recording, isOver: () => boolean): Promise<number> {
  let recorded = 0;
  async function* requests() {
    for (let sequence = 1n; !isOver(); sequence++) yield { sequence, activities: batchOf(recording) };
  }
  for await (const { recordedCount, refusal } of client.streamUserActivity(requests(), {
    headers: headersOf(recording),
  })) {
    if (refusal !== undefined) throw new Error(`refused: ${refusal.message}`);
    recorded += recordedCount;
  }
  return recorded;
}

async function recordByCalls(client: ActivityClient, recording: Recording, isOver: () => boolean): Promise<number> {
  let recorded = 0;
  const headers = headersOf(recording);
  const caller = async (): Promise<void> => {
    while (!isOver()) {
      const { activities } = await client.recordUserActivity({ activities: batchOf(recording) }, { headers });
      recorded += activities.length;
    }
  };
  await Promise.all(Array.from({ length: recording.atOnce }, caller));
  return recorded;
}
