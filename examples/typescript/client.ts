/** A client of Kith over gRPC. KITH_ADDRESS is host:port, KITH_TOKEN an access token or an API key. */
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { RoleSchema } from './gen/kith/access/v1/role_pb.ts';
import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from './gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorDetailSchema, ErrorReasonSchema } from './gen/kith/error/v1/error_pb.ts';

const transport = createGrpcTransport({ baseUrl: `http://${process.env['KITH_ADDRESS']}` });
const headers = { authorization: `Bearer ${process.env['KITH_TOKEN']}` };

const auth = createClient(AuthService, transport);
const { user } = await auth.userMe({}, { headers });
console.log('signed in as', user?.username, RoleSchema.value[user?.role ?? 0]?.name);

const contacts = createClient(ContactService, transport);
const { contact } = await contacts.createContact({ givenName: 'Ada', familyName: 'Lovelace' }, { headers });
console.log('created', contact?.givenName, contact?.familyName);

const activity = createClient(ActivityService, transport);
for await (const { cursor } of activity.watchUserActivity({ userId: user?.id ?? '' }, { headers })) {
  console.log('watching', cursor !== '');
  break;
}

try {
  await auth.userMe({});
} catch (error) {
  const refusal = ConnectError.from(error);
  const [why] = refusal.findDetails(ErrorDetailSchema);
  console.log('refused', Code[refusal.code], ErrorReasonSchema.value[why?.reason ?? 0]?.name);
}
process.exit(); // the connection would be kept for a while
