import type { ServiceImpl } from '@connectrpc/connect';
import {
  GetSecondFactorResponseSchema,
  type SecondFactorService,
} from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { callerOf } from '../../rpc/caller.ts';
import { messageJson } from '../../rpc/message-json.ts';
import { peerOf } from '../../rpc/peer.ts';
import { toEnrolment, toSecondFactor } from './messages.ts';
import {
  confirmTotp,
  disableTotp,
  enrollTotp,
  getSecondFactor,
  replaceRecoveryCodes,
  resetSecondFactor,
  type SecondFactorApp,
} from './second-factor.ts';

export function secondFactorService(app: SecondFactorApp): ServiceImpl<typeof SecondFactorService> {
  return {
    async getSecondFactor(_, context) {
      return toSecondFactor(await getSecondFactor(app, callerOf(context)));
    },
    async enrollTotp(_, context) {
      return toEnrolment(await enrollTotp(app, callerOf(context)));
    },
    async confirmTotp({ code }, context) {
      const recoveryCodes = await confirmTotp(app, callerOf(context), peerOf(context), code);
      return { recoveryCodes: [...recoveryCodes] };
    },
    async disableTotp(_, context) {
      await disableTotp(app, callerOf(context));
      return {};
    },
    async replaceRecoveryCodes(_, context) {
      return { recoveryCodes: await replaceRecoveryCodes(app, callerOf(context)) };
    },
    async resetSecondFactor({ userId }, context) {
      await resetSecondFactor(app, callerOf(context), userId);
      return {};
    },
  };
}

/** Whether there is a second factor, and how many recovery codes are left: the secrets are not exported. */
export const secondFactorData: PersonalData = {
  tables: {
    second_factors: { user_id: { exported: 'secondFactor' } },
    recovery_codes: { user_id: { exported: 'secondFactor' } },
  },
  parts: {
    secondFactor: {
      permission: 'credentials.read',
      isSingle: true,
      async read(app, _, userId) {
        const state = toSecondFactor(await getSecondFactor(app, { userId }));
        return { items: [messageJson(GetSecondFactorResponseSchema, state)], nextPageToken: '' };
      },
    },
  },
};
