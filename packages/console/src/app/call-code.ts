/** A call of the contract. */
export interface Call {
  /** As it is in the path: `kith.user.v1.UserService/CreateUser`. */
  readonly method: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How a call is written, by what it is written in. `url`: of the server, without a path. Passwords are left out. */
export const CALL_CODE: Readonly<Record<string, (call: Call, url: string) => string>> = {
  curl: curlOf,
  TypeScript: typescriptOf,
  Go: goOf,
};

function curlOf(call: Call, url: string): string {
  const quoted = jsonOf(call).replaceAll("'", `'\\''`);
  return [
    `curl ${url}/${call.method}`,
    `-H "authorization: Bearer $TOKEN"`,
    `-H 'content-type: application/json'`,
    `-d '${quoted}'`,
  ].join(' \\\n  ');
}

/** By the JSON of the request, which is read as every client reads it, whatever is in it. */
function typescriptOf(call: Call, url: string): string {
  const { service, method } = partsOf(call);
  const name = method[0]!.toLowerCase() + method.slice(1);
  return `import { fromJson } from '@bufbuild/protobuf';
import { createKith } from '@kith/client';
import { ${service} } from '@kith/client/contract';

const kith = createKith({ url: ${JSON.stringify(url)}, credentials: { apiKey: process.env['TOKEN'] ?? '' } });
const request = fromJson(${service}.method.${name}.input, ${jsonOf(call, 2)});
console.log(await kith.raw(${service}).${name}(request));`;
}

function goOf(call: Call, url: string): string {
  const { packageName, service, method } = partsOf(call);
  const { protocol, host, hostname, port } = new URL(url);
  const isTls = protocol === 'https:';
  const address = port === '' ? `${hostname}:${isTls ? 443 : 80}` : host;
  const alias = packageName.split('.').slice(-2).join('');
  return `package main

import (
	"context"
	"fmt"
	"log"
	"os"

	${alias} "example.com/app/gen/${packageName.replaceAll('.', '/')}"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials${isTls ? '' : '/insecure'}"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	conn, err := grpc.NewClient(${JSON.stringify(address)}, grpc.WithTransportCredentials(${isTls ? 'credentials.NewTLS(nil)' : 'insecure.NewCredentials()'}))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	request := &${alias}.${method}Request{}
	if err := protojson.Unmarshal([]byte(${JSON.stringify(jsonOf(call))}), request); err != nil {
		log.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Getenv("TOKEN"))
	response, err := ${alias}.New${service}Client(conn).${method}(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(protojson.Format(response))
}`;
}

function partsOf({ method }: Call): { packageName: string; service: string; method: string } {
  const [path = '', name = ''] = method.split('/');
  const dot = path.lastIndexOf('.');
  return { packageName: path.slice(0, dot), service: path.slice(dot + 1), method: name };
}

function jsonOf({ body }: Call, indent?: number): string {
  const secret = (key: string, value: unknown) =>
    /password|code$/i.test(key) && typeof value === 'string' && value !== '' ? '…' : value;
  return JSON.stringify(body, secret, indent);
}
