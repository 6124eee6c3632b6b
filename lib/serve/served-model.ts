// The model of a server: loaded when it is needed, and unloaded when nobody has needed it for a while.

import type { Model } from '../model.js'
import { DisposedError } from '../support/errors.js'

export interface ServedModelOptions {
  /** `signal`: the server has stopped. */
  load(signal: AbortSignal): Promise<Model>
  /** Milliseconds without use after which it is unloaded; 0 keeps it. */
  unloadAfterMs: number
  log(message: string): void
}

/** What is known of a model since it was first loaded. */
export interface ModelFacts {
  readonly architecture: string
  readonly device: string
  readonly hasChatTemplate: boolean
  readonly stateBytes: number
  readonly maxContext: number | undefined
}

/** @example const tokens = await served.use(async (model) => model.encode('Hello')) */
export class ServedModel {
  readonly #options: ServedModelOptions
  #loading: Promise<Model> | undefined
  #model: Model | undefined
  #facts: ModelFacts | undefined
  readonly #ended = new AbortController()
  #users = 0
  #timer: NodeJS.Timeout | undefined
  constructor(options: ServedModelOptions) {
    this.#options = options
  }

  /** While it is loaded. */
  get model(): Model | undefined {
    return this.#model
  }

  get facts(): ModelFacts | undefined {
    return this.#facts
  }

  /** Does work with the model, which stays loaded until it is done. */
  async use<T>(work: (model: Model) => Promise<T>): Promise<T> {
    this.#users += 1
    clearTimeout(this.#timer)
    try {
      return await work(await this.#loaded())
    } finally {
      this.#users -= 1
      if (this.#users === 0) this.#unloadLater()
    }
  }

  /** Frees it; ends a loading under way with `reason`. */
  dispose(reason?: unknown): void {
    this.#ended.abort(reason)
    clearTimeout(this.#timer)
    this.#model?.dispose()
    this.#model = undefined
  }

  async #loaded(): Promise<Model> {
    const { signal } = this.#ended
    if (signal.aborted) throw new DisposedError('[serve] the server has stopped')
    if (this.#model) return this.#model
    // All who wait for it share one loading; a failure may pass.
    this.#loading ??= this.#options.load(signal).finally(() => {
      this.#loading = undefined
    })
    const model = await this.#loading
    if (signal.aborted) model.dispose()
    else this.#model = model
    this.#facts ??= factsOf(model)
    return model
  }

  #unloadLater(): void {
    const { unloadAfterMs, log } = this.#options
    if (unloadAfterMs === 0 || !this.#model) return
    this.#timer = setTimeout(() => {
      this.#model?.dispose()
      this.#model = undefined
      log('the model was unloaded, for nobody has needed it; the next request loads it again')
    }, unloadAfterMs)
    this.#timer.unref()
  }
}

function factsOf({
  architecture,
  device,
  chatTemplate,
  stateBytes,
  maxContext,
}: Model): ModelFacts {
  const hasChatTemplate = chatTemplate !== undefined
  return { architecture, device: device.name, hasChatTemplate, stateBytes, maxContext }
}
