const { KITH_FAST_PATH } = process.env;

/** The setting of the servers that tests start, where the tests are told: KITH_FAST_PATH=true npx vitest run test/stop.long.test.ts. */
export const fastPathSetting: Readonly<Record<string, string>> = KITH_FAST_PATH === undefined ? {} : { KITH_FAST_PATH };
