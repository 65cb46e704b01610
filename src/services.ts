import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health } from '../gen/health/v1/health_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AdminService } from '../gen/kith/admin/v1/admin_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { InvitationService } from '../gen/kith/auth/v1/invitation_service_pb.ts';
import { RevocationService } from '../gen/kith/auth/v1/revocation_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { OutboxService } from '../gen/kith/mail/v1/outbox_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { purgeActivities } from './activity/log/purge.ts';
import { activityData, activityService } from './activity/service.ts';
import { adminService } from './admin/service.ts';
import type { App } from './app.ts';
import { purgeContacts, purgeLabels, upgradeContacts } from './contacts/contacts.ts';
import { labelData, labelService } from './contacts/labels/service.ts';
import { purgeImports } from './contacts/imports.ts';
import { purgeMerges } from './contacts/merges.ts';
import { purgePhotos } from './contacts/photos.ts';
import { contactData, contactService } from './contacts/service.ts';
import { purgeVersions } from './contacts/versions.ts';
import { purgeMailedCodes } from './identity/recovery/mailed-codes.ts';
import { apiKeyData, apiKeyService } from './identity/api-keys/service.ts';
import { authData, authService } from './identity/auth/service.ts';
import { purgeRevocations } from './identity/revocations/revocations.ts';
import { revocationData, revocationService } from './identity/revocations/service.ts';
import { purgeEnrolments } from './identity/second-factor/second-factor.ts';
import { secondFactorData, secondFactorService } from './identity/second-factor/service.ts';
import { purgeSessions } from './identity/sessions/sessions.ts';
import { sessionData, sessionService } from './identity/sessions/service.ts';
import { purgeInvitations } from './identity/sign-up/invitations.ts';
import { invitationService } from './identity/sign-up/service.ts';
import { purgeSignUps } from './identity/sign-up/sign-up.ts';
import { purgeThrottles } from './identity/throttle/throttle.ts';
import { signingKeyService } from './identity/tokens/service.ts';
import { purgeUsers } from './identity/users/erase.ts';
import { userData, type UsersApp, userService } from './identity/users/service.ts';
import { upgradeUsers } from './identity/users/users.ts';
import { purgeMails } from './mail/outbox.ts';
import { mailData, outboxService } from './mail/service.ts';
import type { PersonalData } from './privacy/personal-data.ts';
import { removeResponsesTo } from './storage/idempotency.ts';

/**
 * Every service of the contract: the server, reflection, access rules, purging and the tests take it from here. What
 * a slice keeps for a limited time is purged in this order; users come first, since their purge takes along what is
 * theirs.
 */
const SLICES = [
  slice(
    UserService,
    (app: UsersApp) => userService(app, PERSONAL_DATA),
    { users: { remove: (app, rowsMax) => purgeUsers(app, PERSONAL_DATA, rowsMax), upgrade: upgradeUsers } },
    userData,
  ),
  slice(LabelService, labelService, { labels: { remove: purgeLabels } }, labelData),
  slice(
    ContactService,
    contactService,
    {
      contact_merges: { remove: purgeMerges },
      contact_imports: { remove: purgeImports },
      contact_versions: { remove: purgeVersions },
      contacts: { remove: purgeContacts, upgrade: upgradeContacts },
      contact_photos: { remove: purgePhotos },
    },
    contactData,
  ),
  slice(SessionService, sessionService, { sessions: { remove: purgeSessions } }, sessionData),
  slice(
    RevocationService,
    revocationService,
    { revocations: { remove: purgeRevocations, needsSteadyClock: true } },
    revocationData,
  ),
  slice(
    AuthService,
    authService,
    {
      throttles: { remove: purgeThrottles },
      mailed_codes: { remove: purgeMailedCodes },
      sign_ups: { remove: purgeSignUps },
    },
    authData,
  ),
  slice(InvitationService, invitationService, { invitations: { remove: purgeInvitations } }),
  slice(SecondFactorService, secondFactorService, { second_factors: { remove: purgeEnrolments } }, secondFactorData),
  slice(ActivityService, activityService, { activities: { remove: purgeActivities } }, activityData),
  slice(ApiKeyService, apiKeyService, {}, apiKeyData),
  slice(SigningKeyService, signingKeyService),
  slice(AdminService, adminService),
  slice(OutboxService, outboxService, { mails: { remove: purgeMails } }, mailData),
];

/** What the slices need to serve. */
export type ServedApp = UnionToIntersection<AppOf<(typeof SLICES)[number]>>;

/** The services of the contract. */
export const SERVICES: readonly DescService[] = SLICES.map(({ service }) => service);

/** What is purged, under the name it has in metrics. */
export const PURGES: ReadonlyMap<string, Purge> = new Map(SLICES.flatMap(({ purges }) => Object.entries(purges)));

/** The stored answers to request ids, which the slices share. */
const ANSWERS: PersonalData = {
  tables: { requests: { caller_id: { exported: { not: 'what calls were answered within the last 24 hours' } } } },
  remove: (app, userId, rowsMax) => removeResponsesTo(app.database.db, userId, rowsMax),
};

/** What is kept of users. An exported document has the members of these in this order. */
export const PERSONAL_DATA: readonly PersonalData[] = [...SLICES.flatMap(({ personal }) => personal ?? []), ANSWERS];

/** Contracts of others that are served too. They cannot declare who may call, and are open to anyone. */
export function publicServices({ reflection }: { readonly reflection: boolean }): readonly DescService[] {
  return reflection ? [Health, ServerReflection, ServerReflectionAlpha] : [Health];
}

/** Registers the services of the contract. */
export function registerServices(router: ConnectRouter, app: ServedApp): void {
  for (const { register } of SLICES) register(router, app);
}

/** What a slice keeps for a limited time, and how it is removed. */
export interface Purge {
  /** Removes at most so many rows that are past their time. Returns how many it removed. */
  readonly remove: (app: App, rowsMax: number) => Promise<number>;
  /** Whether rows stay while the clock may be wrong: those that keep somebody out. */
  readonly needsSteadyClock?: boolean;
  /** Brings at most so many rows of an older version up to date. Returns how many. */
  readonly upgrade?: (app: App, rowsMax: number) => Promise<number>;
}

interface Slice<A> {
  readonly service: DescService;
  readonly register: (router: ConnectRouter, app: A) => void;
  readonly purges: Readonly<Record<string, Purge>>;
  readonly personal: PersonalData | undefined;
}

type AppOf<S> = S extends Slice<infer A> ? (app: A) => void : never;
type UnionToIntersection<F> = [F] extends [(app: infer A) => void] ? A : never;

function slice<S extends DescService, A>(
  service: S,
  implement: (app: A) => ServiceImpl<S>,
  purges: Readonly<Record<string, Purge>> = {},
  personal?: PersonalData,
): Slice<A> {
  return { service, register: (router, app) => void router.service(service, implement(app)), purges, personal };
}
