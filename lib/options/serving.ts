// Options of the HTTP server, and their flags.

import type { OptionTable } from '../support/option-table.js'

export interface ServeOptions {
  /** Address to listen on. One that other machines reach needs `apiKey`, or `auth: false`. Defaults to `127.0.0.1`. */
  host?: string | undefined
  /** Port; 0 takes a free one. Defaults to 8080. */
  port?: number | undefined
  /** What clients have to send as `Authorization: Bearer ...`. Without it nothing is asked for. */
  apiKey?: string | undefined
  /** `false` lets an address that other machines reach go without a key. Defaults to true. */
  auth?: boolean | undefined
  /** The name that requests call the model by. Defaults to that of its file or folder. */
  alias?: string | undefined
  /** Names that clients may call this machine by, besides its own. */
  allowHost?: readonly string[] | undefined
  /** Origins whose pages may use the server, such as `https://app.example.com`. Defaults to its own page only. */
  allowOrigin?: readonly string[] | undefined
  /** The most tokens of one answer, and what a chat has that names none. Defaults to 32768. */
  maxTokens?: number | undefined
  /** The most bytes of a request's body. Defaults to 1 MiB, whose tokens take about a second of the event loop. */
  maxBody?: number | undefined
  /** Seconds that a client may take to read on. Defaults to 30. */
  idleTimeout?: number | undefined
  /** Seconds that a request may take in all. Defaults to 1800. */
  totalTimeout?: number | undefined
  /** Seconds that requests have to end when the server stops. Defaults to 30. */
  drainTimeout?: number | undefined
  /** Seconds without a request after which the model is unloaded, to be loaded again by the next; 0 keeps it. Defaults to 0. */
  unloadAfter?: number | undefined
}

const SECONDS = 86_400

export const SERVING = {
  host: {
    type: 'string',
    description:
      'address to listen on; one that other machines reach needs a key; default 127.0.0.1',
    flag: { name: 'host', placeholder: 'ADDRESS' },
  },
  port: {
    type: 'integer',
    min: 0,
    max: 65_535,
    default: 8080,
    description: 'port; 0 takes a free one',
    flag: { name: 'port', saysDefault: true },
  },
  apiKey: { type: 'string', description: 'what clients have to send' },
  auth: {
    type: 'boolean',
    default: true,
    description: 'whether other machines need a key',
    flag: { name: 'no-auth', negates: true, description: 'let other machines in without a key' },
  },
  alias: {
    type: 'string',
    description: 'the name that requests call the model by; by default that of its folder',
    flag: { name: 'alias', placeholder: 'NAME' },
  },
  allowHost: {
    type: 'texts',
    description: 'a name that clients may call this machine by, besides its own',
    flag: { name: 'allow-host', placeholder: 'NAME' },
  },
  allowOrigin: {
    type: 'texts',
    description: "an origin whose pages may use the server, besides the server's own",
    flag: { name: 'allow-origin', placeholder: 'ORIGIN' },
  },
  maxTokens: {
    type: 'integer',
    min: 1,
    default: 32_768,
    description: 'the most tokens of an answer, and what a chat has that names none',
    flag: { name: 'max-tokens', short: 'n', saysDefault: true },
  },
  maxBody: {
    type: 'integer',
    min: 1024,
    max: 2 ** 28,
    default: 2 ** 20,
    description: 'the most bytes of a request',
    flag: { name: 'max-body', placeholder: 'BYTES', saysDefault: true, hidesMaximum: true },
  },
  idleTimeout: {
    type: 'number',
    min: 0.1,
    max: SECONDS,
    default: 30,
    description: 'seconds that a client may take to read on',
    flag: {
      name: 'idle-timeout',
      placeholder: 'SECONDS',
      saysDefault: true,
      hidesMaximum: true,
    },
  },
  totalTimeout: {
    type: 'number',
    min: 0.1,
    max: SECONDS,
    default: 1800,
    description: 'seconds that a request may take in all',
    flag: {
      name: 'total-timeout',
      placeholder: 'SECONDS',
      saysDefault: true,
      hidesMaximum: true,
    },
  },
  drainTimeout: {
    type: 'number',
    min: 0,
    max: SECONDS,
    default: 30,
    description: 'seconds that requests have to end when the server stops',
    flag: {
      name: 'drain-timeout',
      placeholder: 'SECONDS',
      saysDefault: true,
      hidesMaximum: true,
    },
  },
  unloadAfter: {
    type: 'number',
    min: 0,
    max: SECONDS,
    default: 0,
    description: 'seconds without a request after which the model is unloaded; 0 keeps it',
    flag: {
      name: 'unload-after',
      placeholder: 'SECONDS',
      saysDefault: true,
      hidesMaximum: true,
    },
  },
} as const satisfies OptionTable<ServeOptions>
