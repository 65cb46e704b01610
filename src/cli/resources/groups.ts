import { WITHOUT_CONTACTS } from '../client/without-contacts.ts';

/** A service that has commands of its own, one for each method: `kith users list`. */
export interface Group {
  readonly name: string;
  readonly title: string;
  readonly service: string;
  /** What the names of the methods leave out: `GetUser` is `get`. */
  readonly noun: string;
  /** What tables of the resource show, the most important first. */
  readonly columns: readonly string[];
  /** The same for lists of other things, by the method's command. */
  readonly otherColumns?: Readonly<Record<string, readonly string[]>>;
  /** Whose resources are meant where `--user` is absent: the caller's, or everybody's. */
  readonly defaultUser?: 'me' | 'all';
  /** What is said of lists of everybody's. */
  readonly leavesOut?: string;
  /** Lines of examples, by the method's command. */
  readonly examples: Readonly<Record<string, readonly string[]>>;
}

export const GROUPS: readonly Group[] = [
  {
    name: 'users',
    title: 'Users',
    service: 'kith.user.v1.UserService',
    noun: 'User',
    columns: ['id', 'username', 'email', 'name', 'role', 'state'],
    examples: {
      list: ['kith users list --query ada', 'kith users list --roles admin --all --jsonl'],
      get: ['kith users get ada', 'kith users get me --json'],
      create: [
        "kith users create --username ada --email ada@example.org --name 'Ada Lovelace'",
        'kith users create --input @ada.json --password-file -',
      ],
      update: [
        'kith users update ada --role editor',
        'kith users get ada --json | jq \'.user.name = "Ada King"\' | kith users update --input -',
      ],
      delete: ['kith users delete ada'],
      undelete: ['kith users undelete ada'],
      erase: ['kith users erase ada'],
      'set-password': ['kith users set-password ada --must-change-password'],
    },
  },
  {
    name: 'contacts',
    title: 'Contacts',
    service: 'kith.contact.v1.ContactService',
    noun: 'Contact',
    columns: ['id', 'given_name', 'family_name', 'company', 'emails', 'phones'],
    otherColumns: {
      'list-duplicates': [
        'score',
        'reasons',
        'first.id',
        'first.given_name',
        'first.family_name',
        'second.id',
        'second.given_name',
        'second.family_name',
      ],
      'list-versions': [
        'version',
        'change_time',
        'action',
        'changed_fields',
        'contact.given_name',
        'contact.family_name',
        'contact.company',
      ],
      'list-merges': ['contact_id', 'merged_contact_ids', 'before.given_name', 'before.family_name', 'create_time'],
      'list-imports': ['id', 'source', 'created_contacts', 'updated_contacts', 'remaining_contacts', 'create_time'],
    },
    examples: {
      list: ['kith contacts list --query hopper', 'kith contacts list --deleted'],
      create: [
        "kith contacts create --given-name Grace --family-name Hopper --emails grace@example.org --phones '+1 202 555 0100'",
        `kith contacts create --input '{"givenName": "Grace", "birthday": {"month": 12, "day": 9}}'`,
      ],
      'list-versions': ['kith contacts list-versions ID'],
      'restore-version': ['kith contacts restore-version ID --version 3'],
      update: [
        'kith contacts update ID --starred true',
        'kith contacts get ID --json | jq \'.contact.notes = ""\' | kith contacts update --input -',
      ],
    },
  },
  {
    name: 'labels',
    title: 'Labels of contacts',
    service: 'kith.contact.v1.LabelService',
    noun: 'Label',
    columns: ['id', 'name', 'color', 'contact_count'],
    examples: {
      list: ['kith labels list'],
      create: ["kith labels create --name Family --color '#c02040'"],
    },
  },
  {
    name: 'sessions',
    title: 'Sessions',
    service: 'kith.auth.v1.SessionService',
    noun: 'Session',
    columns: ['id', 'user_agent', 'address', 'last_used_time', 'methods', 'current'],
    defaultUser: 'me',
    examples: {
      list: ['kith sessions list', 'kith sessions list --user ada'],
      revoke: ['kith sessions revoke ID'],
      'revoke-all': ['kith sessions revoke-all --keep-current', 'kith sessions revoke-all --user ada'],
    },
  },
  {
    name: 'keys',
    title: 'API keys',
    service: 'kith.auth.v1.ApiKeyService',
    noun: 'ApiKey',
    columns: ['id', 'name', 'secret_hint', 'expire_time', 'last_used_time', 'permissions'],
    defaultUser: 'me',
    examples: {
      list: ['kith keys list'],
      create: [
        'kith keys create --name mailer --permissions users-read --permissions activity-record --expire-time +90d',
      ],
      revoke: ['kith keys revoke ID'],
    },
  },
  {
    name: 'activity',
    title: 'Activity',
    service: 'kith.activity.v1.ActivityService',
    noun: 'UserActivity',
    columns: ['event_time', 'action', 'user_id', 'actor_id', 'attributes', 'details'],
    defaultUser: 'all',
    leavesOut: WITHOUT_CONTACTS,
    examples: {
      list: ['kith activity list --user ada', 'kith activity list --action-prefixes kith.session --start-time -2h'],
      record: [`kith activity record --activities '{"userId": "ID", "action": "shop.order_placed"}'`],
    },
  },
  {
    name: 'invitations',
    title: 'Invitations',
    service: 'kith.auth.v1.InvitationService',
    noun: 'Invitation',
    columns: ['id', 'email', 'role', 'create_time', 'expire_time'],
    examples: { create: ['kith invitations create --email ada@example.org --role editor'] },
  },
  {
    name: 'mail',
    title: 'Mails to users',
    service: 'kith.mail.v1.OutboxService',
    noun: 'Mail',
    columns: ['id', 'kind', 'recipient', 'state', 'attempts', 'create_time', 'last_error'],
    examples: {
      list: ['kith mail list', 'kith mail list --states failed --all --jsonl'],
      preview: [
        'kith mail preview --kind password_reset --locale de',
        'kith mail preview --kind new_sign_in --json | jq -r .html > preview.html',
      ],
    },
  },
  {
    name: 'signing-keys',
    title: 'Signing keys',
    service: 'kith.auth.v1.SigningKeyService',
    noun: 'SigningKey',
    columns: ['kid', 'state', 'create_time', 'activate_time', 'remove_time'],
    examples: {},
  },
  {
    name: 'admin',
    title: 'Administration',
    service: 'kith.admin.v1.AdminService',
    noun: 'Admin',
    columns: [],
    examples: { 'set-log-level': ['kith admin set-log-level --level debug --duration 15m'] },
  },
];
