// Written by scripts/migration-list.ts (npm run generate) from the files of this folder.
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { migration as m0001 } from './0001-initial.ts';
import { migration as m0002 } from './0002-activity.ts';
import { migration as m0003 } from './0003-sign-in.ts';
import { migration as m0004 } from './0004-usage.ts';
import { migration as m0005 } from './0005-contact-fields.ts';
import { migration as m0006 } from './0006-key-permissions.ts';
import { migration as m0007 } from './0007-activity-actors.ts';
import { migration as m0008 } from './0008-binary-responses.ts';
import { migration as m0009 } from './0009-user-fields.ts';
import { migration as m0010 } from './0010-user-orders.ts';
import { migration as m0011 } from './0011-mail.ts';
import { migration as m0014 } from './0014-contact-details.ts';
import { migration as m0015 } from './0015-search-version.ts';
import { migration as m0016 } from './0016-sign-up.ts';
import { migration as m0017 } from './0017-labels.ts';
import { migration as m0021 } from './0021-contact-properties.ts';
import { migration as m0022 } from './0022-contact-duplicates.ts';
import { migration as m0023 } from './0023-contact-merges.ts';
import { migration as m0024 } from './0024-contact-imports.ts';
import { migration as m0025 } from './0025-contact-versions.ts';
import { migration as m0026 } from './0026-contact-photos.ts';

/** Every migration, in order, by its name in the database. */
export const MIGRATIONS: Readonly<Record<string, (dialect: Dialect) => Migration>> = {
  '0001-initial': m0001,
  '0002-activity': m0002,
  '0003-sign-in': m0003,
  '0004-usage': m0004,
  '0005-contact-fields': m0005,
  '0006-key-permissions': m0006,
  '0007-activity-actors': m0007,
  '0008-binary-responses': m0008,
  '0009-user-fields': m0009,
  '0010-user-orders': m0010,
  '0011-mail': m0011,
  '0014-contact-details': m0014,
  '0015-search-version': m0015,
  '0016-sign-up': m0016,
  '0017-labels': m0017,
  '0021-contact-properties': m0021,
  '0022-contact-duplicates': m0022,
  '0023-contact-merges': m0023,
  '0024-contact-imports': m0024,
  '0025-contact-versions': m0025,
  '0026-contact-photos': m0026,
};

/** Every table, with the migration that makes it. */
export const TABLES = {
  users: '0001-initial',
  user_terms: '0001-initial',
  sessions: '0001-initial',
  signing_keys: '0001-initial',
  contacts: '0001-initial',
  contact_terms: '0001-initial',
  requests: '0001-initial',
  activity: '0002-activity',
  activity_purged: '0002-activity',
  revocations: '0003-sign-in',
  throttles: '0003-sign-in',
  second_factors: '0003-sign-in',
  recovery_codes: '0003-sign-in',
  api_keys: '0003-sign-in',
  user_usage: '0004-usage',
  mails: '0011-mail',
  mailed_codes: '0011-mail',
  sign_ups: '0016-sign-up',
  invitations: '0016-sign-up',
  labels: '0017-labels',
  distinct_contacts: '0022-contact-duplicates',
  contact_merges: '0023-contact-merges',
  contact_imports: '0024-contact-imports',
  contact_import_changes: '0024-contact-imports',
  contact_versions: '0025-contact-versions',
  contact_photos: '0026-contact-photos',
  contact_photo_images: '0026-contact-photos',
} as const;
