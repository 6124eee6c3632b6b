// The public interface of ssm-metal/ai-sdk: exports only.

// Symbol.dispose, for those who compile without it.
/// <reference lib="esnext.disposable" preserve="true" />

import '../support/disposable.js'

export { SsmMetalLanguageModel } from './language-model.js'
export { createSsmMetal, type SsmMetalProvider, ssmMetal } from './provider.js'
export type { SsmMetalProviderOptions } from './provider-options.js'
