// Sequences of llama.cpp, decoded together: streams-trial.mjs says what is asked of them.

import { openContext, prepare } from './engine-node-llama-cpp.mjs'
import { Steps } from './steps.mjs'

/** Reads prompts, one call each. Gives each sequence as a step takes it: where it stands, and the token that it has drawn. */
async function readPrompts(context, prompts) {
  const sequences = []
  for (const [sequence, tokens] of prompts.entries()) {
    context.forget(sequence)
    const [place] = await context.run([{ sequence, position: 0, tokens }])
    sequences.push({
      sequence,
      position: tokens.length,
      tokens: Uint32Array.of(await context.token(sequence, place)),
    })
  }
  return sequences
}

/** One call for a token of each sequence. Gives where the logits are. */
async function step(context, sequences) {
  const places = await context.run(sequences)
  for (const one of sequences) one.position += 1
  return places
}

async function drawTogether(context, prompts, count) {
  const steps = new Steps(prompts.length, count)
  const sequences = await readPrompts(context, prompts)
  for (const { sequence } of sequences) steps.drawn(sequence)
  for (let i = 0; i < count; i++) {
    const places = await step(context, sequences)
    // As node-llama-cpp does: of all sequences at once.
    const tokens = await Promise.all(places.map((place, index) => context.token(index, place)))
    for (const one of sequences) {
      one.tokens = Uint32Array.of(tokens[one.sequence])
      steps.drawn(one.sequence)
    }
  }
  return steps.figures()
}

async function open({ prompts, generate, ...request }) {
  const contextSize = prompts[0].length + generate + 64
  const llama = await prepare(request)
  return openContext({ ...request, contextSize, sequences: prompts.length }, llama)
}

export async function measureTogether(request) {
  const { prompts, generate } = request
  const context = await open(request)
  await drawTogether(context, prompts, 4)
  const figures = await drawTogether(context, prompts, generate)
  await context.dispose()
  return figures
}

/** The logits of the last of `generate` tokens of each prompt: alone, and of all together. */
export async function logitsTogether(request) {
  const { prompts, generate, tokens } = request
  const context = await open(request)
  const given = prompts.map(() => tokens(generate))
  const read = async (chosen) => {
    const sequences = (await readPrompts(context, prompts)).filter(({ sequence }) =>
      chosen.includes(sequence),
    )
    let places
    for (let i = 0; i < generate; i++) {
      for (const one of sequences) one.tokens = given[one.sequence].subarray(i, i + 1)
      places = await step(context, sequences)
    }
    const logits = []
    for (const [i, { sequence }] of sequences.entries()) {
      logits.push([...(await context.logits(sequence, places[i]))])
    }
    return logits
  }
  const all = [...prompts.keys()]
  const together = await read(all)
  const alone = []
  for (const sequence of all) alone.push(...(await read([sequence])))
  await context.dispose()
  return { together, alone }
}
