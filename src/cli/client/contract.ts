import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { type FileDescriptorSet, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Health } from '../../../gen/health/v1/health_pb.ts';
import { type CommentOf, commentsOf } from '../../rpc/contract-comments.ts';
import { readContractImage } from '../../rpc/contract-image.ts';
import { UsageError } from '../command.ts';
import { didYouMean } from '../suggest.ts';
import { fetchAsKith } from './connect.ts';

/** The services that can be called, and their messages. */
export interface Contract {
  readonly registry: FileRegistry;
  readonly services: readonly DescService[];
  readonly commentOf: CommentOf;
}

/** An image of a contract is some hundred kilobytes. */
const IMAGE_BYTES_MAX = 16 * 1024 * 1024;
const FETCH_TIMEOUT_MS = 5_000;

let own: Contract | undefined;

/** The contract of this version of Kith. */
export function ownContract(): Contract {
  return (own ??= contractOf(readContractImage()));
}

/** The contract that a server hands out; undefined where it hands out none (KITH_REFLECTION=false) or cannot be reached. */
export async function fetchContract(url: string, signal: AbortSignal): Promise<Contract | undefined> {
  try {
    const response = await fetchAsKith(`${url}/contract.binpb`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(FETCH_TIMEOUT_MS)]),
      redirect: 'error',
    });
    if (!response.ok || response.headers.get('content-type') !== 'application/protobuf') return undefined;
    const image = fromBinary(FileDescriptorSetSchema, await readBounded(response));
    return contractOf(image);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/**
 * The method by its name: `kith.user.v1.UserService/GetUser`, or shorter where that is one method alone
 * (`UserService/GetUser`, `GetUser`). Throws UsageError with the names that are like it.
 */
export function findMethod({ services }: Contract, written: string): DescMethod {
  const name = written.replace(/^\//, '').replace(/\.(?=[^./]+$)/, '/');
  const wanted = name.toLowerCase();
  const methods = services.flatMap((service) => service.methods);
  const matching = methods.filter((method) => {
    const full = nameOf(method).toLowerCase();
    return full === wanted || full.endsWith(`.${wanted}`) || full.endsWith(`/${wanted}`);
  });
  const exact = matching.find((method) => nameOf(method) === name) ?? matching[0];
  if (exact === undefined) {
    const [service, method] = written.includes('/') ? written.split('/') : ['', written];
    const like = didYouMean(
      method ?? '',
      methods.map((each) => each.name),
    ).replaceAll(/(?<=mean | or )\w+/g, (each) => nameOf(methods.find((candidate) => candidate.name === each)!));
    const unknown = service === '' || services.some(({ typeName }) => typeName.endsWith(service ?? ''));
    throw new UsageError(
      `there is no method ${written}${
        like ||
        (unknown
          ? ''
          : didYouMean(
              service ?? '',
              services.map(({ typeName }) => typeName),
            ))
      }; kith call --list names all`,
    );
  }
  if (matching.length > 1 && nameOf(exact) !== name) {
    throw new UsageError(`${written} is several methods: ${matching.map(nameOf).join(', ')}`);
  }
  return exact;
}

/** `kith.user.v1.UserService/GetUser`. */
export function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}

function contractOf(image: FileDescriptorSet): Contract {
  const registry = createFileRegistry(image);
  const own = [...registry].filter((desc) => desc.kind === 'service');
  const services = registry.getService(Health.typeName) === undefined ? [...own, Health] : own;
  return { registry, services, commentOf: commentsOf(image) };
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > IMAGE_BYTES_MAX) throw new RangeError('the contract is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
