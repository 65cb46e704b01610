// Records Kith's traces with the OpenTelemetry SDK and sends them to a collector over OTLP/HTTP.
//
// Kith itself comes without an SDK. In a folder of its own, with this file in it:
//
//   npm install @opentelemetry/api@1.10.0 @opentelemetry/sdk-trace@3.1.0 @opentelemetry/context-async-hooks@3.1.0 \
//     @opentelemetry/resources@3.1.0 @opentelemetry/exporter-trace-otlp-http@0.301.0
//
// Then start Kith with NODE_OPTIONS=--import=/opt/kith-otel/otel.mjs, or with node --import /opt/kith-otel/otel.mjs.
// https://opentelemetry.io/docs/languages/sdk-configuration/ has the variables:
//
//   OTEL_EXPORTER_OTLP_ENDPOINT  the collector; default http://localhost:4318
//   OTEL_SERVICE_NAME            default kith
//   OTEL_RESOURCE_ATTRIBUTES     such as deployment.environment.name=production
//   OTEL_TRACES_SAMPLER_ARG      of the calls that come without a trace, the part that is recorded; default 1, which is all
import { isMainThread } from 'node:worker_threads';

// The threads that write the database, hash and compress run this file too, and make no spans.
if (isMainThread) {
  const { context, trace } = await import('@opentelemetry/api');
  const { AsyncLocalStorageContextManager } = await import('@opentelemetry/context-async-hooks');
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
  const resources = await import('@opentelemetry/resources');
  const sdk = await import('@opentelemetry/sdk-trace');

  const ratio = Number(process.env.OTEL_TRACES_SAMPLER_ARG ?? 1);
  const detected = resources.detectResources({
    detectors: [resources.envDetector, resources.hostDetector, resources.serviceInstanceIdDetector],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  trace.setGlobalTracerProvider(
    new sdk.TracerProvider({
      resource: resources
        .resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME ?? 'kith' })
        .merge(detected),
      // Callers decide for the calls of their traces. Where strangers call, add `remoteParentSampled` with a sampler of
      // your own: https://opentelemetry.io/docs/specs/otel/trace/sdk/#parentbased
      sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(ratio) }),
      // It holds 2,048 spans at the most and drops what is more. Kith has it send the last ones when it stops.
      spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
    }),
  );
}
