import { durationMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { AdminService } from '../../gen/kith/admin/v1/admin_service_pb.ts';
import { callerOf } from '../rpc/caller.ts';
import { type AdminApp, describeProcess, readStatus, setLogLevel } from './admin.ts';
import { fromLogLevel, toLogLevelMessage, toProcessMessage, toSettingMessage, toStatusMessage } from './messages.ts';

export function adminService(app: AdminApp): ServiceImpl<typeof AdminService> {
  return {
    async getStatus() {
      return toStatusMessage(await readStatus(app));
    },
    getSettings() {
      return { process: toProcessMessage(describeProcess(app)), settings: app.settings().map(toSettingMessage) };
    },
    async setLogLevel({ level, duration }, context) {
      const state = await setLogLevel(app, callerOf(context), fromLogLevel(level), duration && durationMs(duration));
      return { process: toProcessMessage(describeProcess(app)), logLevel: toLogLevelMessage(state) };
    },
  };
}
