import type { ServiceImpl } from '@connectrpc/connect';
import type { RevocationService } from '../../../gen/kith/auth/v1/revocation_service_pb.ts';
import { callerOf } from '../../rpc/caller.ts';
import { toBatchMessage } from './messages.ts';
import { type RevocationWatchApp, watchRevocations } from './watch-revocations.ts';

export function revocationService(app: RevocationWatchApp): ServiceImpl<typeof RevocationService> {
  return {
    async *watchRevocations(_, context) {
      for await (const batch of watchRevocations(app, callerOf(context), context.signal)) yield toBatchMessage(batch);
    },
  };
}
