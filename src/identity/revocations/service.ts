import type { ServiceImpl } from '@connectrpc/connect';
import type { RevocationService } from '../../../gen/kith/auth/v1/revocation_service_pb.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
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

/** Revocations have ids and a role, and are gone within hours. */
export const revocationData: PersonalData = {
  tables: {
    revocations: {
      user_id: {
        exported: { not: 'which tokens to refuse: ids, for as long as such tokens may be good' },
        stays: 'the access tokens of an erased user must be refused until the last one has expired',
      },
    },
  },
};
