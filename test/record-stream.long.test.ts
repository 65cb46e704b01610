import { describe, expect, test } from 'vitest';
import { databases } from './support/databases.ts';
import { recordOverKilledStreams } from './support/killed-streams.ts';
import { openApp, startOn } from './support/stored.ts';

describe.each(databases)('on $name', (kind) => {
  test('100,000 activities over a stream that is cut off 20 times are recorded once each', {
    timeout: 600_000,
  }, async () => {
    await using kith = await startOn(kind, { env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
    const { accessToken } = await kith.admin();
    const { ids } = await recordOverKilledStreams(kith, {
      activities: 100_000,
      perMessage: 100,
      kills: 20,
      accessToken,
      answersBeforeKill: () => Math.floor(Math.random() * 60),
    });
    await using app = await openApp(kith);
    const rows = await app.database.db
      .selectFrom('activity')
      .select('id')
      .where('action', '=', 'killed.stream')
      .execute();
    expect(rows).toHaveLength(ids.length);
    expect(new Set(rows.map(({ id }) => id))).toEqual(new Set(ids));
  });
});
