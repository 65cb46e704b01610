import type { DescService } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { createAsyncIterable } from '@connectrpc/connect/protocol';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { Validator } from '@bufbuild/protovalidate';
import { Failure } from '../failure.ts';
import { type AccessRules, createAccessInterceptor } from './access.ts';
import { findCaller } from './caller.ts';
