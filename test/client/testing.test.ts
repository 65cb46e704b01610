import { expect, test } from 'vitest';
import { KithError } from '../../packages/client/src/index.ts';
import { Role, startKith } from '../../packages/client/src/testing.ts';

test('a Kith for tests has users in their roles, each with a client of their own, and leaves nothing behind', async () => {
  let url: string;
  {
    await using server = await startKith({ env: { KITH_CONTACTS_PER_USER: '1' } });
    url = server.url;
    const [viewer, editor] = await Promise.all([server.user(), server.user(Role.EDITOR)]);
    expect([viewer.user.role, editor.user.role]).toEqual([Role.VIEWER, Role.EDITOR]);
    expect((await viewer.kith.auth.userMe()).user?.username).toBe(viewer.identifier);
    await editor.kith.activity.record({ activities: [{ userId: viewer.user.id, action: 'page.viewed' }] });
    const seen: string[] = [];
    for await (const { action } of viewer.kith.activity.list({ userId: viewer.user.id })) seen.push(action);
    expect(seen).toContain('page.viewed');
    await expect(viewer.kith.users.list().page()).rejects.toThrow(KithError);
    expect((await server.admin.users.list({ includeTotalSize: true }).page()).totalSize).toBe(3);
  }
  await expect(fetch(`${url}/healthz`)).rejects.toThrow(TypeError);
});

test('a start that fails says what was printed', async () => {
  await expect(startKith({ env: { KITH_PORT: 'none' } })).rejects.toThrow(/ended before it served:\n[^]*KITH_PORT/);
  await expect(startKith({ repository: '/nowhere' })).rejects.toThrow("/nowhere is not Kith's repository");
});
