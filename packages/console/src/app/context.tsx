import type { DescService } from '@bufbuild/protobuf';
import type { Calls, Namespace } from '@kith/client/calls';
import { Permission } from '@kith/client/roles';
import type { User } from '@kith/client/users';
import { createContext, useContext, useMemo } from 'react';

/** Who is signed in, and how to call. */
export interface Console {
  readonly calls: Calls;
  readonly user: User;
  readonly permissions: ReadonlySet<Permission>;
  readonly signOut: () => void;
}

export const ConsoleContext = createContext<Console | undefined>(undefined);

export function useConsole(): Console {
  const value = useContext(ConsoleContext);
  if (value === undefined) throw new Error('there is no ConsoleContext around this');
  return value;
}

/** The methods of a service, which is loaded with the pages that name it. */
export function useService<Service extends DescService, Noun extends string>(
  service: Service,
  noun: Noun,
): Namespace<Service, Noun> {
  const { calls } = useConsole();
  return useMemo(() => calls.of(service, noun), [calls, service, noun]);
}

/** Whether the person who is signed in has a permission. */
export function useMay(permission: Permission): boolean {
  return useConsole().permissions.has(permission);
}

export { Permission };
