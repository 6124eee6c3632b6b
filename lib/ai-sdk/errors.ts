// Errors that the AI SDK knows by the symbols that its own classes have (`isInstance`), whatever package they are of.

class AiSdkError extends Error {
  constructor(name: string, message: string) {
    super(message)
    this.name = name
    for (const marker of ['vercel.ai.error', `vercel.ai.error.${name}`]) {
      Object.defineProperty(this, Symbol.for(marker), { value: true })
    }
  }
}

/** What a model, or this provider, does not do. */
export class UnsupportedFunctionalityError extends AiSdkError {
  readonly functionality: string

  constructor(functionality: string, message: string) {
    super('AI_UnsupportedFunctionalityError', message)
    this.functionality = functionality
  }
}

/** A model of a kind that this provider does not have. */
export class NoSuchModelError extends AiSdkError {
  readonly modelId: string
  readonly modelType: string

  constructor(modelId: string, modelType: string) {
    super(
      'AI_NoSuchModelError',
      `ssm-metal has language models only, and no ${modelType}: ${modelId}`,
    )
    this.modelId = modelId
    this.modelType = modelType
  }
}
