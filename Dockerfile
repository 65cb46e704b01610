FROM node:26-slim AS console
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages packages
COPY scripts/build-console.ts scripts/
RUN npm ci --ignore-scripts && node scripts/build-console.ts

FROM node:26-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/account/package.json packages/account/
COPY packages/client/package.json packages/client/
COPY packages/connect-fast/package.json packages/connect-fast/
COPY packages/console/package.json packages/console/
COPY packages/protobuf-compiled/package.json packages/protobuf-compiled/
COPY packages/verify/package.json packages/verify/
# Node's own platform packages serve machines with an older Node; the image has its own.
RUN npm ci --omit=dev --ignore-scripts && rm -rf node_modules/node-linux-* node_modules/.bin

FROM node:26-slim
ENV NODE_ENV=production KITH_HOST=0.0.0.0 KITH_DATABASE_URL=sqlite:/data/kith.db
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY gen gen
COPY packages packages
COPY --from=console /app/packages/account/dist packages/account/dist
COPY --from=console /app/packages/console/dist packages/console/dist
COPY proto proto
COPY src src
RUN install --directory --owner=node --group=node /data
USER node
VOLUME /data
EXPOSE 8080
# Over TLS without checking the certificate: it names the service, not this loopback address.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "\
  const { KITH_TLS_CERT, KITH_PORT } = process.env; \
  const port = /^[0-9]+$/.test(KITH_PORT) ? KITH_PORT : 8080; \
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; \
  fetch((KITH_TLS_CERT ? 'https' : 'http') + '://127.0.0.1:' + port + '/readyz') \
    .then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--disable-sigusr1", "src/main.ts"]
