// Requests whose texts are known.

import type { GenerateOptions, Model } from '../../lib/index.js'
import { CompletionLogprobs } from '../../lib/serve/logprobs.js'
import type { Exercise } from './clients.js'

// Of a log-probability, by the order in which sums are added up: what test/models/prompt-cache.test.ts holds it to.
const ROUNDING = 1e-4

const PROMPTS = [
  'Once upon a time',
  'The old man looked at the sea',
  'In the morning',
  'A letter came',
]

// Of some 200 tokens, most of which are in the cache from the third prompt on.
const INSTRUCTIONS = `${'A story for children, in short sentences, of a fox and a hare who meet by the sea. '.repeat(9)}\n\n`

/**
 * Texts with seeds, for a server without a prompt cache: each has the bits that a client alone gets.
 *
 * @param seeds Of each prompt.
 */
export async function seededExercises(model: Model, seeds: number): Promise<Exercise[]> {
  const exercises: Exercise[] = []
  for (const prompt of PROMPTS) {
    for (let seed = 0; seed < seeds; seed++) {
      const options = { seed, temperature: 0.8, maxTokens: 8 + 4 * seed }
      const { texts } = await alone(model, prompt, options)
      const body = { prompt, seed, temperature: 0.8, max_tokens: options.maxTokens }
      exercises.push({ body, tokens: texts, mayDiffer: () => false })
    }
  }
  return exercises
}

/**
 * Greedy texts whose prompts begin alike, for a server with a prompt cache: another token than that of a cold prompt may
 * stand where two are as likely, up to rounding.
 *
 * @param count Of prompts.
 */
export async function sharedExercises(model: Model, count: number): Promise<Exercise[]> {
  const exercises: Exercise[] = []
  for (let i = 0; i < count; i++) {
    const prompt = `${INSTRUCTIONS}${PROMPTS[i % PROMPTS.length]} ${i}`
    const maxTokens = 8 + (i % 16)
    const { texts, leads } = await alone(model, prompt, { temperature: 0, maxTokens })
    exercises.push({
      body: { prompt, temperature: 0, max_tokens: maxTokens },
      tokens: texts,
      mayDiffer: (place) => leads[place]! < 2 * ROUNDING,
    })
  }
  return exercises
}

/** @param model Without a prompt cache. */
async function alone(
  model: Model,
  prompt: string,
  options: GenerateOptions,
): Promise<{ texts: string[]; leads: number[] }> {
  const { tokens, logprobs } = await model.generate(prompt, { ...options, logprobs: 2 })
  const written = new CompletionLogprobs()
  for (const [i, token] of tokens.entries()) written.add(model.tokenizer!, token, logprobs![i]!, 0)
  // How much likelier each is than the next one.
  const leads = logprobs!.map(
    ({ topLogprobs: [first, second] }) => first!.logprob - second!.logprob,
  )
  return { texts: written.tokens, leads }
}
