/**
 * Variables that Kubernetes makes in every pod for each Service of its namespace
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables),
 * and Docker for each container that is linked
 * (https://docs.docker.com/engine/network/links/#environment-variables). A Service called
 * kith, or kith-cache, makes names that begin with KITH_ and one, KITH_PORT, that is a
 * setting's. Each form goes by the end of the name and by the value, so that a misspelt
 * setting is not taken for one.
 */
const LINKS: readonly (readonly [name: RegExp, value: RegExp])[] = [
  // Kubernetes
  [/_SERVICE_HOST$/, /^[\d.]+$|^[\da-f:.]*:[\da-f:.]*$/i],
  [/_SERVICE_PORT(_[A-Z\d_]+)?$/, /^\d+$/],
  // both
  [/_PORT$/, /^(tcp|udp|sctp):\/\//],
  [/_PORT_\d+_(TCP|UDP|SCTP)$/, /^(tcp|udp|sctp):\/\//],
  [/_PORT_\d+_(TCP|UDP|SCTP)_PROTO$/, /^(tcp|udp|sctp)$/],
  [/_PORT_\d+_(TCP|UDP|SCTP)_PORT$/, /^\d+$/],
  [/_PORT_\d+_(TCP|UDP|SCTP)_ADDR$/, /./],
  // Docker
  [/_PORT_\d+_(TCP|UDP|SCTP)(_PORT)?_(START|END)$/, /./],
  [/_NAME$/, /^\/.+/],
  [/^KITH(_[A-Z\d_]+)?_ENV_./, /^/],
];

/** Whether a variable was made by Kubernetes or Docker for a service or container called kith or kith-something. */
export function isServiceLink(name: string, value: string): boolean {
  return /^KITH_[A-Z\d_]/.test(name) && LINKS.some(([ending, form]) => ending.test(name) && form.test(value));
}
