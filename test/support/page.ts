import { toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService, ListContactsResponseSchema } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorDetailSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { signedIn } from './sign-in.ts';

// The script of the page in browser.long.test.ts: everything here runs in the browser.

globalThis.page = { visit, knock };

declare global {
  var page: { readonly visit: typeof visit; readonly knock: typeof knock };
}

export type Protocol = 'gRPC-Web' | 'Connect JSON' | 'Connect binary' | 'Connect GET';

interface Visit {
  readonly baseUrl: string;
  readonly protocol: Protocol;
  readonly identifier: string;
  readonly password: string;
}

/** Signs in and uses the address book, as a web application does. */
async function visit({ baseUrl, protocol, identifier, password }: Visit) {
  let accessToken = '';
  let requestId: string | null = null;
  const interceptor: Interceptor = (next) => async (request) => {
    if (accessToken !== '') request.header.set('authorization', `Bearer ${accessToken}`);
    request.header.set('x-request-id', 'from-a-page');
    const response = await next(request);
    requestId = response.header.get('x-request-id');
    return response;
  };
  const transport = transportOf(protocol, baseUrl, [interceptor]);
  const auth = createClient(AuthService, transport);
  const contacts = createClient(ContactService, transport);

  ({ accessToken } = await signedIn(auth.login({ identifier, password })));
  const { user } = await auth.userMe({});
  const { contact } = await contacts.createContact({ givenName: 'Zoë', notes: '🦉' });
  const list = toJson(ListContactsResponseSchema, await contacts.listContacts({ includeTotalSize: true }));
  const refused = await refusalOf(createClient(UserService, transport).listUsers({}));
  return { username: user?.username, requestId, contactId: contact?.id, list, refused };
}

/** How a call without a token is refused; by the browser itself when the origin is not allowed. */
async function knock({ baseUrl, protocol }: Pick<Visit, 'baseUrl' | 'protocol'>) {
  return refusalOf(createClient(AuthService, transportOf(protocol, baseUrl, [])).userMe({}));
}

function transportOf(protocol: Protocol, baseUrl: string, interceptors: Interceptor[]): Transport {
  if (protocol === 'gRPC-Web') return createGrpcWebTransport({ baseUrl, interceptors });
  const useBinaryFormat = protocol === 'Connect binary';
  return createConnectTransport({ baseUrl, interceptors, useBinaryFormat, useHttpGet: protocol === 'Connect GET' });
}

async function refusalOf(call: Promise<unknown>) {
  try {
    await call;
    return undefined;
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const [detail] = error.findDetails(ErrorDetailSchema);
    const requestId = error.metadata.get('x-request-id');
    return { code: Code[error.code], message: error.rawMessage, reason: detail?.reason, requestId };
  }
}
