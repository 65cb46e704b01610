/** Keep contacts on the device, to be read and changed without a connection, and synchronised with Kith. */
export type { ConflictResolution, ContactConflict } from './contact-conflict.ts';
export type { ContactFieldName, ContactFields } from './contact-fields.ts';
export type { ChangeRefusal } from './contact-record.ts';
export type { CopyChange } from './contacts-copy.ts';
export { indexedDbStorage } from './contacts-indexed-db.ts';
export {
  type ContactsDatabase,
  type ContactsStorage,
  ContactsStoreError,
  type ContactsStoreReason,
  type ItemChanges,
  memoryStorage,
  type StoredItem,
} from './contacts-storage.ts';
export {
  type ContactsStore,
  type ContactsStoreOptions,
  type ContactState,
  type KeepSyncedOptions,
  openContactsStore,
  type StoredContact,
  type WaitingChange,
} from './contacts-store.ts';
export type { OnConflict } from './contacts-sync.ts';
export type { Contact } from './gen/kith/contact/v1/contact_pb.ts';
export type { Label } from './gen/kith/contact/v1/label_service_pb.ts';
