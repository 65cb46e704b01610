import type { Kith } from '@kith/client';
import { Permission, type User } from '@kith/client/contract';
import { createContext, useContext } from 'react';

/** Who is signed in, and how to call. */
export interface Console {
  readonly kith: Kith;
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

/** Whether the person who is signed in has a permission. */
export function useMay(permission: Permission): boolean {
  return useConsole().permissions.has(permission);
}

export { Permission };
