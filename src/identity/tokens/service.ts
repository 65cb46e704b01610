import type { ServiceImpl } from '@connectrpc/connect';
import type { SigningKeyService } from '../../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { callerOf } from '../../rpc/caller.ts';
import { toSigningKeyMessage } from './messages.ts';
import { listSigningKeys, rotateSigningKey, type SigningKeysApp } from './rotation.ts';

export function signingKeyService(app: SigningKeysApp): ServiceImpl<typeof SigningKeyService> {
  return {
    async listSigningKeys() {
      return { signingKeys: (await listSigningKeys(app)).map(toSigningKeyMessage) };
    },
    async rotateSigningKey({ compromised }, context) {
      return { signingKey: toSigningKeyMessage(await rotateSigningKey(app, callerOf(context), compromised)) };
    },
  };
}
