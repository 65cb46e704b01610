import type { DescMessage, DescService } from '@bufbuild/protobuf';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { Health } from '../../gen/health/v1/health_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { AdminService } from '../../gen/kith/admin/v1/admin_service_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { RevocationService } from '../../gen/kith/auth/v1/revocation_service_pb.ts';
import { SecondFactorService } from '../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from '../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';

const SERVICES: readonly DescService[] = [
  AuthService,
  SessionService,
  RevocationService,
  UserService,
  ContactService,
  ActivityService,
  AdminService,
  SigningKeyService,
  ApiKeyService,
  SecondFactorService,
  Health,
  ServerReflection,
];

/** The request types of all methods that are served. */
export function requestTypes(): readonly DescMessage[] {
  return [...new Set(SERVICES.flatMap(({ methods }) => methods).map(({ input }) => input))];
}
