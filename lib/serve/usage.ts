// What answers have cost, in the words of OpenAI's API and of llama-server.

import type { GenerateResult } from '../generation/generate.js'

/** The texts of one prompt: it counts once, as in OpenAI's API. */
export type PromptResults = readonly GenerateResult[]

/** @example usageOf([[result]]).prompt_tokens_details.cached_tokens */
export function usageOf(prompts: readonly PromptResults[]) {
  const firsts = prompts.map(([first]) => first!.usage)
  const all = prompts.flat().map(({ usage }) => usage)
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
  const prompt_tokens = sum(firsts.map(({ promptTokens }) => promptTokens))
  const completion_tokens = sum(all.map(({ completionTokens }) => completionTokens))
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: sum(firsts.map(({ cachedTokens }) => cachedTokens)) },
    completion_tokens_details: {
      reasoning_tokens: sum(all.map(({ reasoningTokens = 0 }) => reasoningTokens)),
    },
  }
}

/** Of one text. Milliseconds; rates are tokens a second. */
export function timingsOf({ usage, timings }: GenerateResult) {
  return {
    queue_ms: timings.queueMs,
    cache_n: usage.cachedTokens,
    prompt_n: usage.promptTokens - usage.cachedTokens,
    prompt_ms: timings.promptMs,
    prompt_per_second: timings.promptTokensPerSecond,
    predicted_n: usage.completionTokens,
    predicted_ms: timings.generationMs,
    predicted_per_second: timings.generationTokensPerSecond,
  }
}
