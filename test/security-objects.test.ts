import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, startKith } from './support/kith.ts';
import { http1Request, sendHttp1 } from './support/raw.ts';

/** Names that every JavaScript object has, or that lead to what all of them share. */
const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__'];

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase;
  let kith: Kith;
  beforeAll(async () => {
    database = await kind.create();
    kith = await startKith({ database });
  });
  afterAll(async () => {
    await kith.stop();
    await database[Symbol.asyncDispose]();
  });

  async function call(method: string, accessToken: string, body: string): Promise<string> {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${accessToken}` };
    const answer = await sendHttp1(kith.address, http1Request('POST', `/kith.${method}`, headers, body));
    return answer.body.toString();
  }

  test.each(NAMES)('an attribute named %s is one like others, and changes no object', async (name) => {
    const { accessToken, user } = await kith.admin();
    const attributes = `{"beside":"kept","${name}":"given"}`;
    const activity = `{"userId":"${user.id}","action":"page.viewed","attributes":${attributes}}`;
    const recorded = await call(
      'activity.v1.ActivityService/RecordUserActivity',
      accessToken,
      `{"activities":[${activity}]}`,
    );
    const listed = await call(
      'activity.v1.ActivityService/ListUserActivity',
      accessToken,
      `{"userId":"${user.id}","actionPrefixes":["page"],"pageSize":1}`,
    );
    for (const answer of [recorded, listed]) {
      expect(answer).toContain(`"${name}":"given"`);
      expect(answer).toContain('"beside":"kept"');
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(Object.prototype).not.toHaveProperty('beside');
  });
});
