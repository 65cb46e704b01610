import packageJson from '../../package.json' with { type: 'json' };
import type { Config } from '../config/config.ts';
import type { Serving } from './workers.ts';

/**
 * Says where the server is, and how to sign in the first time. On standard error, since the log is on standard
 * output: the password is shown to a person, once, and not collected.
 */
export function announce(config: Config, { address, createdAdmin }: Serving): void {
  console.error(`Kith ${packageJson.version} serves gRPC, gRPC-Web and Connect at ${address}`);
  if (createdAdmin === undefined) {
    if (config.adminPassword !== undefined) {
      console.error('KITH_ADMIN_PASSWORD is not used: there are users already');
    }
    return;
  }
  const { adminPasswordFile: file } = config;
  // For the shell to fill in.
  const password =
    config.adminPassword === undefined
      ? createdAdmin.password
      : file === undefined
        ? `'"$KITH_ADMIN_PASSWORD"'`
        : `'"$(cat "$KITH_ADMIN_PASSWORD_FILE")"'`;
  const variable = file === undefined ? 'KITH_ADMIN_PASSWORD' : 'KITH_ADMIN_PASSWORD_FILE';
  const where = file === undefined ? variable : `the file of ${variable}`;
  console.error(
    config.adminPassword === undefined
      ? `\nThe administrator is "${createdAdmin.username}", the password (shown only now): ${createdAdmin.password}`
      : `\nThe administrator is "${createdAdmin.username}", the password is the one in ${where}`,
  );
  const shell = config.adminPassword === undefined ? '' : `, in a shell where ${variable} is set as here`;
  console.error(`\nTry it${shell}:\n
  curl ${address}/kith.auth.v1.AuthService/Login \\
    -H 'content-type: application/json' \\
    -d '{"identifier": "${createdAdmin.username}", "password": "${password}"}'\n`);
}
