import type { SignUpConfig } from '../../config/config.ts';
import { Failure } from '../../kernel/failure.ts';

/** What says who may sign up. */
export interface SignUpPolicyApp {
  readonly signUp: SignUpConfig;
}

/** Throws sign_up_closed, and sign_up_domain_not_allowed: by the setting and the address alone, whoever is known. */
export function requireMaySignUp({ signUp }: SignUpPolicyApp, email: string): void {
  if (signUp.policy === 'closed') throw new Failure('sign_up_closed', 'nobody may sign up on this server');
  const domain = email.slice(email.lastIndexOf('@') + 1).toLowerCase();
  if (signUp.domains.length === 0 || signUp.domains.includes(domain)) return;
  const message = 'email addresses of this domain may not sign up';
  throw new Failure('sign_up_domain_not_allowed', message, { field: 'email' });
}
