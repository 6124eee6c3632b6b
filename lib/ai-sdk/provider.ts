// The provider: models by path or name, or models that are loaded already.

import { loadModel } from '../load-model.js'
import { Model } from '../model.js'
import type { LoadOptions } from '../options/loading.js'
import { onAbort, reasonOf, type Signal, throwIfAborted } from '../support/abort.js'
import { describe } from '../support/option-checks.js'
import { NoSuchModelError } from './errors.js'
import { SsmMetalLanguageModel } from './language-model.js'

/**
 * Gives models to the AI SDK. A path or a name is what `loadModel` takes; without one it is the model that ships with
 * this package. It is loaded when it is first used, and stays until `dispose()`.
 */
export interface SsmMetalProvider extends Disposable {
  (model?: string | Model): SsmMetalLanguageModel
  readonly specificationVersion: 'v4'
  /** The same as calling the provider. */
  languageModel(model?: string | Model): SsmMetalLanguageModel
  /** Throws: there are none. */
  embeddingModel(modelId: string): never
  /** Throws: there are none. */
  imageModel(modelId: string): never
  /**
   * Frees the models that this provider has loaded, not those that it was given. Calls in flight reject with
   * `DisposedError`; later ones load anew.
   */
  dispose(): void
}

/**
 * A provider whose models are loaded with these options.
 *
 * @example
 * const provider = createSsmMetal({ quantize: { bits: 4 } })
 * const { text } = await generateText({ model: provider('./granite-4.0-h-1b'), prompt: 'Why is the sky blue?' })
 */
export function createSsmMetal(options: LoadOptions = {}): SsmMetalProvider {
  const loaded = new Map<string | undefined, Promise<Model>>()
  // All who wait for a model share one loading; a failure may pass.
  const load = (path: string | undefined): Promise<Model> => {
    const known = loaded.get(path)
    if (known) return known
    const loading = loadModel(path, options)
    loaded.set(path, loading)
    loading.catch(() => {
      if (loaded.get(path) === loading) loaded.delete(path)
    })
    return loading
  }
  const languageModel = (model?: string | Model): SsmMetalLanguageModel => {
    if (model instanceof Model) {
      return new SsmMetalLanguageModel(model.architecture, async () => model)
    }
    if (model !== undefined && (typeof model !== 'string' || model === '')) {
      throw new TypeError(
        `[languageModel] the model must be a path, a Hub name or what loadModel resolves to but is ${describe(model)}`,
      )
    }
    return new SsmMetalLanguageModel(model ?? 'rene-tiny', (signal) =>
      unlessAborted(load(model), signal),
    )
  }
  const dispose = () => {
    // What is still being loaded is freed when it arrives.
    for (const loading of loaded.values()) {
      loading.then(
        (model) => model.dispose(),
        () => {},
      )
    }
    loaded.clear()
  }
  return Object.assign((model?: string | Model) => languageModel(model), {
    specificationVersion: 'v4' as const,
    languageModel,
    embeddingModel: noModel('embedding model'),
    imageModel: noModel('image model'),
    dispose,
    [Symbol.dispose]: dispose,
  })
}

/** A provider with the default options. */
export const ssmMetal: SsmMetalProvider = createSsmMetal()

function noModel(kind: string): (modelId: string) => never {
  return (modelId) => {
    throw new NoSuchModelError(modelId, kind)
  }
}

/** What a promise resolves to; rejects when the signal aborts before, while others may still wait for it. */
async function unlessAborted<T>(promise: Promise<T>, signal: Signal | undefined): Promise<T> {
  throwIfAborted(signal)
  if (!signal) return promise
  return new Promise<T>((resolve, reject) => {
    const forget = onAbort(signal, () => reject(reasonOf(signal)))
    promise.then(resolve, reject).finally(forget)
  })
}
