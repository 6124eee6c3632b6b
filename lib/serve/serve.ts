// Starts a server for a model.

import { basename } from 'node:path'
import type { Model } from '../model.js'
import { type ServeOptions, SERVING } from '../options/serving.js'
import { UnsupportedOptionError } from '../support/errors.js'
import { onAbort, type Signal } from '../support/abort.js'
import { checkOptions } from '../support/option-checks.js'
import { optionNames, optionValues } from '../support/option-table.js'
import { Access, isLoopback } from './access.js'
import { Gate } from './gate.js'
import { Metrics } from './metrics.js'
import { ServedModel } from './served-model.js'
import { type Arrival, HttpServer } from './server.js'
import type { Serving } from './serving.js'

export interface ServedFacts {
  /** Loads the model, again after it was unloaded. `signal`: it is not needed any more. */
  load(signal: AbortSignal): Promise<Model>
  /** Texts that may run and wait: no more than the model's `maxStreams` and `maxQueue` together. */
  places: number
  /** What the model was asked for by: its path or Hub name. */
  model: string | undefined
  /** Ends the start; from then on there is `stop`. */
  signal?: Signal | undefined
  /** What a client may take to send a request. Defaults to what docs/serve.md says. */
  arrival?: Arrival | undefined
  log(message: string): void
}

export interface RunningServer {
  /** Where it listens: `http://127.0.0.1:8080`. */
  readonly url: string
  /** What requests call the model. */
  readonly name: string
  /** Ends when what is under way has ended, or `drainTimeout` is over; then frees the model. */
  stop(): Promise<void>
}

/**
 * Loads the model and listens.
 *
 * @throws UnsupportedOptionError for an address that other machines reach, without a key or `auth: false`.
 * @example
 * const server = await serve({ load: () => loadModel(), places: 1056, model: undefined, log: console.error }, { port: 0 })
 */
export async function serve(
  facts: ServedFacts,
  options: ServeOptions = {},
): Promise<RunningServer> {
  checkOptions('serve', options, optionNames(SERVING))
  const settings = optionValues('serve', SERVING, options)
  const { host = '127.0.0.1', apiKey, auth, port } = settings
  const { allowHost, allowOrigin } = options
  if (apiKey === undefined && auth && !isLoopback(host)) {
    throw new UnsupportedOptionError(
      `[serve] other machines reach ${host}, and no key is set: set SSM_METAL_API_KEY or --api-key-file, or let everybody in with --no-auth`,
    )
  }
  const { load, log } = facts
  const model = new ServedModel({ load, log, unloadAfterMs: 1000 * settings.unloadAfter })
  const serving: Serving = {
    settings,
    access: new Access({ host, apiKey, allowHost, allowOrigin }),
    model,
    gate: new Gate(facts.places),
    metrics: new Metrics(),
    name: settings.alias ?? nameOf(facts.model),
    created: Math.floor(Date.now() / 1000),
    isDraining: false,
    log,
  }
  const server = new HttpServer(serving, facts.arrival)
  const { signal } = facts
  const forget = onAbort(signal, () => model.dispose(signal?.reason))
  try {
    await model.use(async ({ tokenizer }) => {
      if (tokenizer) return
      throw new Error(
        '[serve] the model has no tokenizer that can be used: name one with --tokenizer',
      )
    })
    const url = await server.listen(host, port)
    return {
      url,
      name: serving.name,
      async stop() {
        await server.stop()
        model.dispose()
      },
    }
  } catch (error) {
    model.dispose()
    throw error
  } finally {
    forget()
  }
}

/** A Hub name as it is; of a path its last part. */
function nameOf(model: string | undefined): string {
  if (model === undefined) return 'rene-tiny'
  if (/^[\w.-]+\/[\w.-]+$/.test(model) && !model.startsWith('.')) return model
  return basename(model) || model
}
