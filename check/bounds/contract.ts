import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf';
import { access } from '../../gen/kith/access/v1/access_pb.ts';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';

const GENERATED = join(import.meta.dirname, '../../gen');

/** Every method of every service that has generated code, so that a new one is attacked by itself. */
export async function readMethods(): Promise<DescMethod[]> {
  const files = await Array.fromAsync(glob('**/*_pb.ts', { cwd: GENERATED }));
  const modules: Record<string, unknown>[] = await Promise.all(
    files.toSorted().map((file) => import(join(GENERATED, file))),
  );
  return modules
    .flatMap((module) => Object.values(module))
    .filter(isService)
    .flatMap(({ methods }) => methods);
}

function isService(value: unknown): value is DescService {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'service';
}

/** Whether anybody may call the method. Contracts of others have no access option: health, reflection. */
export function isPublic(method: DescMethod): boolean {
  const { rule } = getOption(method, access);
  return rule.case === 'public' || rule.case === undefined;
}

/** Whether a viewer would be refused before anything of their message is read. */
export function takesEditor(method: DescMethod): boolean {
  const { rule, selfField } = getOption(method, access);
  if (rule.case !== 'permission' || selfField !== '') return false;
  return rule.value !== Permission.CONTACTS_READ && rule.value !== Permission.CONTACTS_WRITE;
}

export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
