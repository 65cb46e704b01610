import { expect } from 'vitest';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { AdminService, LogLevel, SettingSource } from '../../gen/kith/admin/v1/admin_service_pb.ts';
import { SigningKeyState } from '../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { examplesOf, KID, TIME } from '../../test/support/example.ts';

const PROCESS = {
  version: expect.stringMatching(/./),
  pid: process.pid,
  worker: 0,
  startTime: TIME,
  currentTime: TIME,
};

export const admin = examplesOf(AdminService, {
  async getStatus({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const answer = {
      process: PROCESS,
      database: { kind: expect.stringMatching(/SQL/), available: true, migrations: expect.any(Array) },
      signingKeys: expect.arrayContaining([expect.objectContaining({ kid: KID, state: SigningKeyState.ACTIVE })]),
      activityLog: { head: expect.any(BigInt), horizon: expect.any(BigInt) },
      traffic: { watchesWaking: 0 },
      budgets: expect.arrayContaining([expect.objectContaining({ name: 'call_bytes' })]),
      queues: expect.arrayContaining([expect.objectContaining({ name: 'reads', runningLimit: 512 })]),
      logLevel: { setting: LogLevel.SILENT },
    };
    return { accessToken, request: {}, answer };
  },
  async getSettings({ caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const secret = { name: 'KITH_SECRET_KEY', isSecret: true, source: SettingSource.ENVIRONMENT, value: '' };
    const port = { name: 'KITH_PORT', value: '0', defaultValue: '8080', source: SettingSource.ENVIRONMENT };
    const settings = expect.arrayContaining([expect.objectContaining(secret), expect.objectContaining(port)]);
    return { accessToken, request: {}, answer: { process: PROCESS, settings } };
  },
  async setLogLevel({ kith, caller }) {
    const { accessToken } = await caller(Role.ADMIN);
    const logLevel = { level: LogLevel.FATAL, setting: LogLevel.SILENT, revertTime: TIME };
    return {
      accessToken,
      request: { level: LogLevel.FATAL, duration: { seconds: 604_800n } },
      answer: { process: PROCESS, logLevel },
      async verify() {
        await kith.client(AdminService, accessToken).setLogLevel({});
      },
    };
  },
});
