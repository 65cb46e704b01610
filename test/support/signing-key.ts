import type { KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import { SigningKeys } from '../../src/identity/tokens/signing-keys.ts';
import type { Kith } from './kith.ts';
import { openApp } from './stored.ts';

/** A key that signs access tokens, private half and all. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicJwk: JWK;
}

/** The key that a server signs with, as only who has its database and its secret can get it. */
export async function signingKeyOf(kith: Kith): Promise<SigningKey> {
  await using app = await openApp(kith);
  await using keys = await SigningKeys.open({
    ...app,
    periodMs: kith.config.signingKeyMs,
    onRotated() {},
    onError(error) {
      throw error;
    },
  });
  const { kid, privateKey } = keys.signer();
  const { keys: published } = JSON.parse(keys.jwks().body) as { keys: JWK[] };
  return { kid, privateKey, publicJwk: published.find((jwk) => jwk.kid === kid)! };
}
