// A client of Kith over gRPC, without generated code: @grpc/proto-loader reads the
// contract when the program starts. KITH_ADDRESS is host:port, KITH_TOKEN an access
// token or an API key. KITH_CONTRACT is /contract.binpb of a server, as a file, or the folder of
// `kith contract export`.
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const { KITH_ADDRESS, KITH_TOKEN, KITH_CONTRACT } = process.env;
// Names as in the contract, which is what an image gives whatever is asked for. Without `defaults` and `arrays`, what is false,
// 0 or empty would be missing from answers, lists among it.
const OPTIONS = { keepCase: true, enums: String, longs: String, defaults: true, arrays: true };

const definition = KITH_CONTRACT.endsWith('.binpb')
  ? loader.loadFileDescriptorSetFromBuffer(readFileSync(KITH_CONTRACT), OPTIONS)
  : loader.loadSync(protosIn(KITH_CONTRACT), { ...OPTIONS, includeDirs: [KITH_CONTRACT] });
/** The .proto files in a folder and those below it, by their paths in it. */
function protosIn(folder) {
  return readdirSync(folder, { recursive: true }).filter((path) => path.endsWith('.proto'));
}

const { kith } = grpc.loadPackageDefinition(definition);

// What a refusal carries in its trailer (google.rpc.Status).
const status = loader.fromJSON(
  {
    nested: {
      Status: { fields: { details: { rule: 'repeated', type: 'Detail', id: 3 } } },
      Detail: { fields: { type_url: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    },
  },
  OPTIONS,
);

const credentials = grpc.credentials.createInsecure();
const signedIn = new grpc.Metadata();
signedIn.set('authorization', `Bearer ${KITH_TOKEN}`);

const auth = new kith.auth.v1.AuthService(KITH_ADDRESS, credentials);
const userMe = promisify(auth.userMe.bind(auth));
const { user } = await userMe({}, signedIn);
console.log('signed in as', user.username, user.role);

const contacts = new kith.contact.v1.ContactService(KITH_ADDRESS, credentials);
const createContact = promisify(contacts.createContact.bind(contacts));
const { contact } = await createContact({ given_name: 'Ada', family_name: 'Lovelace' }, signedIn);
console.log('created', contact.given_name, contact.family_name);

const activity = new kith.activity.v1.ActivityService(KITH_ADDRESS, credentials);
const watch = activity.watchUserActivity({ user_id: user.id }, signedIn);
watch.on('error', () => {}); // that it was cancelled
const [{ cursor }] = await once(watch, 'data');
console.log('watching', cursor !== '');
watch.cancel();

try {
  await userMe({}, new grpc.Metadata());
} catch (error) {
  const [trailer] = error.metadata.get('grpc-status-details-bin');
  for (const { type_url: type, value } of status.Status.deserialize(trailer).details) {
    if (!type.endsWith('/kith.error.v1.ErrorDetail')) continue;
    const { reason } = definition['kith.error.v1.ErrorDetail'].deserialize(value);
    const name = grpc.status[error.code];
    console.log('refused', name[0] + name.slice(1).toLowerCase(), reason);
  }
}
for (const client of [auth, contacts, activity]) client.close();
