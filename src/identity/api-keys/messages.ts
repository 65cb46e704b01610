import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { ApiKeySchema, CreateApiKeyRequest } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { fromPermission, toPermissions } from '../../rpc/enums.ts';
import type { ApiKey, NewApiKey } from './api-keys.ts';

export function toApiKeyMessage(key: ApiKey): MessageInitShape<typeof ApiKeySchema> {
  return {
    id: key.id,
    userId: key.userId,
    name: key.name,
    secretHint: key.secretHint,
    permissions: toPermissions(key.permissions),
    createTime: timestampFromMs(key.createMs),
    ...(key.expireMs === null ? {} : { expireTime: timestampFromMs(key.expireMs) }),
    ...(key.lastUsedMs === null ? {} : { lastUsedTime: timestampFromMs(key.lastUsedMs) }),
  };
}

export function fromCreate({ name, permissions, expireTime }: CreateApiKeyRequest): NewApiKey {
  return {
    name,
    permissions: new Set(permissions.map(fromPermission).filter((permission) => permission !== undefined)),
    expireMs: expireTime === undefined ? null : timestampMs(expireTime),
  };
}
