import { describe, expect, test, vi } from 'vitest';
import { newId } from './id.ts';

const timeOf = (id: string) => Number.parseInt(id.replace('-', '').slice(0, 12), 16);

describe('a new id', () => {
  test('is a UUID of version 7 with the time at which it was made', () => {
    const before = Date.now();
    const id = newId();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(timeOf(id)).toBeGreaterThanOrEqual(before);
    expect(timeOf(id)).toBeLessThanOrEqual(Date.now() + 1);
  });

  test('sorts after all before it, however many one millisecond has', () => {
    vi.useFakeTimers({ now: Date.now() + 1000 });
    try {
      const ids = Array.from({ length: 10_000 }, newId);
      expect(ids.toSorted()).toEqual(ids);
      expect(new Set(ids).size).toBe(ids.length);
      expect(timeOf(ids.at(-1)!) - Date.now()).toBeLessThan(4);
    } finally {
      vi.useRealTimers();
    }
  });

  test('sorts after those before it when the clock is set back by a little, and has the time when it is by more', () => {
    const now = Date.now() + 3_600_000;
    vi.useFakeTimers({ now });
    try {
      const first = newId();
      vi.setSystemTime(now - 30_000);
      const second = newId();
      expect(second > first).toBe(true);
      vi.setSystemTime(now - 3_600_000);
      expect(timeOf(newId())).toBe(now - 3_600_000);
    } finally {
      vi.useRealTimers();
    }
  });
});
