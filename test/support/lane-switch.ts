const { KITH_FAST_LANE } = process.env;

/** The setting of the servers that tests start, where the tests are told: KITH_FAST_LANE=true npx vitest run test/stop.test.ts. */
export const laneOfTests: Readonly<Record<string, string>> = KITH_FAST_LANE === undefined ? {} : { KITH_FAST_LANE };
