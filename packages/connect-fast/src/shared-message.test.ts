import { create } from '@bufbuild/protobuf';
import { StringValueSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { frameOf, shareMessage } from './shared-message.ts';

const messageOf = (value: string) => create(StringValueSchema, { value });

test('the frame of a shared message is made once for each protocol, and of others each time', async () => {
  let made = 0;
  const make = () => Buffer.from(String(++made));
  const message = shareMessage(messageOf('shared'));
  const frames = [frameOf(message, 'proto', make), frameOf(message, 'proto', make), frameOf(message, 'json', make)];
  expect(frames.map(String)).toEqual(['1', '1', '2']);
  const other = messageOf('another');
  expect([frameOf(other, 'proto', make), frameOf(other, 'proto', make)].map(String)).toEqual(['3', '4']);
  const compressed = () => frameOf(message, 'proto gzip', async () => make());
  expect([await compressed(), await compressed()].map(String)).toEqual(['5', '5']);
});

test('a frame that could not be made is made again', async () => {
  const message = shareMessage(messageOf('shared'));
  await expect(frameOf(message, 'gzip', () => Promise.reject(new Error('full')))).rejects.toThrow('full');
  expect(String(await frameOf(message, 'gzip', async () => Buffer.from('made')))).toBe('made');
});

test('no more than some megabytes of frames are kept', () => {
  const messages = Array.from({ length: 10 }, (_, i) => shareMessage(messageOf(String(i))));
  let made = 0;
  const make = () => {
    made++;
    return Buffer.alloc(1_000_000);
  };
  for (const message of messages) void frameOf(message, 'proto', make);
  expect(made).toBe(10);
  void frameOf(messages[9]!, 'proto', make);
  expect(made).toBe(10);
  void frameOf(messages[0]!, 'proto', make);
  expect(made).toBe(11);
});
