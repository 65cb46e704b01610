import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import { AdminService } from './gen/kith/admin/v1/admin_service_pb.ts';
import { ApiKeyService } from './gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import { InvitationService } from './gen/kith/auth/v1/invitation_service_pb.ts';
import { RevocationService } from './gen/kith/auth/v1/revocation_service_pb.ts';
import { SecondFactorService } from './gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from './gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from './gen/kith/auth/v1/signing_key_service_pb.ts';
import { ContactService } from './gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from './gen/kith/contact/v1/label_service_pb.ts';
import { OutboxService } from './gen/kith/mail/v1/outbox_service_pb.ts';
import { UserService } from './gen/kith/user/v1/user_service_pb.ts';

/** Every service of the contract once: its namespace, and the noun that the names of its methods leave out. */
export const SERVICES = {
  activity: { service: ActivityService, noun: 'UserActivity' },
  admin: { service: AdminService, noun: 'Admin' },
  apiKeys: { service: ApiKeyService, noun: 'ApiKey' },
  auth: { service: AuthService, noun: 'Auth' },
  contacts: { service: ContactService, noun: 'Contact' },
  invitations: { service: InvitationService, noun: 'Invitation' },
  labels: { service: LabelService, noun: 'Label' },
  outbox: { service: OutboxService, noun: 'Mail' },
  revocations: { service: RevocationService, noun: 'Revocation' },
  secondFactor: { service: SecondFactorService, noun: 'SecondFactor' },
  sessions: { service: SessionService, noun: 'Session' },
  signingKeys: { service: SigningKeyService, noun: 'SigningKey' },
  users: { service: UserService, noun: 'User' },
} as const;
