// The trained model that ships in the package, its float16 original, and how well they predict text.

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { referenceDevice } from '../../lib/operations/create-device.js'
import { loadModel, perplexity } from '../../lib/index.js'
import { Model } from '../../lib/model.js'
import { modelIdentity } from '../../lib/models/model-identity.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { Engine } from '../../lib/engine/engine.js'
import { LanguageModel } from '../../lib/models/language-model.js'
import { fixture, FIXTURES, numbersOf, readRawTensors } from '../support/checkpoints.js'
import { runChild } from '../support/child-process.js'
import { PROMPTS } from '../support/prompts.js'
import { relativeL2 } from '../tolerance.js'

const root = join(FIXTURES, '../..')
const shipped = join(root, 'models/rene-tiny')
const original = join(root, 'models/rene-tiny-f16')

// Whether the tokens end in one to eight tokens repeated until at least 16 in a row are repetition.
function endsInLoop(tokens: readonly number[]): boolean {
  for (let period = 1; period <= 8; period++) {
    let repeated = 0
    for (let i = tokens.length - 1; i >= period && tokens[i] === tokens[i - period]; i--) repeated++
    if (repeated >= 16) return true
  }
  return false
}

describe('the float16 original', () => {
  it('gives the logits that PyTorch gave in float32', async () => {
    const { tensors } = await readRawTensors(join(FIXTURES, 'rene-tiny-golden.safetensors'))
    const tokens = numbersOf(tensors.get('input_ids')!)
    const positions = numbersOf(tensors.get('positions')!)
    const expected = numbersOf(tensors.get('logits')!)
    await using model = await loadModel(original)
    const { data, shape } = await model.logits(tokens)
    const actual = positions.flatMap((position) => [
      ...data.subarray(position * shape[1], (position + 1) * shape[1]),
    ])
    expect(tokens).toHaveLength(512)
    expect(actual).toHaveLength(expected.length)
    expect(relativeL2(actual, expected)).toBeLessThan(1e-4)
  })
})

describe('the shipped model', () => {
  let model: Model
  beforeAll(async () => {
    model = await loadModel(shipped)
  })
  afterAll(() => model.dispose())

  it('is small, quantised, and has its tokenizer', async () => {
    const { size } = await stat(join(shipped, 'model.safetensors'))
    expect(size).toBeLessThan(12e6)
    expect(model.config.quantization).toEqual({ bits: 4, groupSize: 64 })
    expect(model.architecture).toBe('rene')
    expect(model.tokenizer?.endOfTextToken).toBe(0)
  })

  it.each(PROMPTS)('continues %j without falling into a loop', async (prompt) => {
    const { tokens, text } = await model.generate(prompt, {
      maxTokens: 40,
      repetitionPenalty: 1.1,
    })
    expect(tokens.length).toBeGreaterThan(0)
    expect(endsInLoop(tokens)).toBe(false)
    expect(text).toMatch(/[a-z]{3}/)
  })

  it('predicts English far better than chance and than nonsense', async () => {
    const english = 'It is a truth universally acknowledged, that the old house stood by the sea.'
    const shuffled = [...english].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0)).join('')
    const good = await perplexity(model, english)
    const bad = await perplexity(model, shuffled)
    expect(good.bitsPerByte).toBeLessThan(2)
    expect(bad.bitsPerByte).toBeGreaterThan(2 * good.bitsPerByte)
  })

  it('is what loadModel and the command line use when no model is named, and say so once', async () => {
    const words = ['generate', '-p', 'The old man', '-n', '5', '--json']
    const { stdout, stderr, code } = await runChild('lib/cli.ts', words)
    const expected = await model.generate('The old man', { maxTokens: 5, repetitionPenalty: 1.1 })
    expect(code).toBe(0)
    expect(JSON.parse(stdout).tokens).toEqual(expected.tokens)
    expect(stderr.match(/rene-tiny/g)).toHaveLength(1)
    expect(stderr).toContain('--repeat-penalty 1.1')
    const byDefault = await loadModel()
    expect(byDefault.config).toEqual(model.config)
    byDefault.dispose()
  })
})

describe('perplexity', () => {
  const text = 'The old man looked at the sea and said nothing. '.repeat(6)

  it('agrees with the logits, token by token', async () => {
    await using model = await loadModel(shipped)
    const tokens = [...model.encode(text)]
    const { data, shape } = await model.logits([0, ...tokens.slice(0, -1)])
    const losses = tokens.map((token, i) => {
      const row = data.subarray(i * shape[1], (i + 1) * shape[1])
      const largest = Math.max(...row)
      const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0)
      return largest + Math.log(sum) - row[token]!
    })
    const sum = losses.reduce((total, loss) => total + loss, 0)
    const mean = sum / losses.length
    const deviation = Math.sqrt(
      losses.reduce((total, loss) => total + (loss - mean) ** 2, 0) / (losses.length - 1),
    )
    const result = await perplexity(model, text)
    expect(result.tokens).toBe(tokens.length)
    expect(result.bytes).toBe(Buffer.byteLength(text))
    expect(result.negativeLogLikelihood).toBeCloseTo(sum, 2)
    expect(result.perplexity).toBeCloseTo(Math.exp(mean), 4)
    expect(result.perplexityError).toBeCloseTo(
      (Math.exp(mean) * deviation) / Math.sqrt(losses.length),
      4,
    )
    expect(result.bitsPerByte).toBeCloseTo(sum / Math.LN2 / text.length, 5)
  })

  it('is within 0.05 % of the plain loops', async () => {
    await using model = await loadModel(shipped)
    using device = referenceDevice()
    const checkpoint = await openCheckpoint(shipped)
    const languageModel = await LanguageModel.load(device, checkpoint, {})
    const { tokenizer, endOfText, generationDefaults } = model
    const chat = { template: undefined, specialTokens: {} }
    const identity = () => modelIdentity(checkpoint, {})
    const facts = { tokenizer, endOfText, generationDefaults, chat, identity }
    const engine = new Engine(languageModel, { maxStreams: 1, maxQueue: 0 })
    await using reference = new Model(engine, facts, 0)
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const part = readme.slice(0, 2500)
    const fast = await perplexity(model, part)
    const plain = await perplexity(reference, part)
    expect(fast.tokens).toBeGreaterThan(500)
    expect(Math.abs(fast.bitsPerByte / plain.bitsPerByte - 1)).toBeLessThan(0.0005)
  })

  it.each([1, 7, 33])('does not depend on chunks: %i tokens at once', async (prefillChunkSize) => {
    await using model = await loadModel(shipped)
    const whole = await perplexity(model, text)
    const progress: number[] = []
    const chunked = await perplexity(model, text, {
      prefillChunkSize,
      onProgress: ({ tokens }) => progress.push(tokens),
    })
    expect(chunked.negativeLogLikelihood).toBeCloseTo(whole.negativeLogLikelihood, 2)
    expect(progress.at(-1)).toBe(whole.tokens)
  })

  it('takes an end-of-text token at the beginning of the text as its context', async () => {
    await using model = await loadModel(shipped)
    const plain = await perplexity(model, text)
    const separated = await perplexity(model, `<|endoftext|>${text}`)
    expect(separated.negativeLogLikelihood).toBeCloseTo(plain.negativeLogLikelihood, 4)
    expect(separated.tokens).toBe(plain.tokens)
    expect(separated.bytes).toBe(plain.bytes + '<|endoftext|>'.length)
  })

  it('says what it needs', async () => {
    await using model = await loadModel(shipped)
    await expect(perplexity(model, '')).rejects.toThrow(/empty/)
    await expect(perplexity(model, '<|endoftext|>')).rejects.toThrow(/nothing to predict/)
    await expect(perplexity(model, text, { chunk: 1 } as object)).rejects.toThrow(/unknown option/)
    await expect(perplexity(model, text, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/)
    await using silent = await loadModel(fixture('rene'))
    await expect(perplexity(silent, text)).rejects.toThrow(/allenai\/OLMo-1B-hf/)
  })

  it('is a command', async () => {
    const file = join(FIXTURES, 'README.md')
    const words = ['perplexity', '-m', shipped, '-f', file, '--json']
    const { stdout, code } = await runChild('lib/cli.ts', words)
    expect(code).toBe(0)
    const result = JSON.parse(stdout)
    expect(result.bytes).toBe((await readFile(file)).length)
    expect(result.bitsPerByte).toBeLessThan(5)
    const table = await runChild('lib/cli.ts', ['perplexity', '-f', '-'], { input: text })
    expect(table.stdout).toMatch(/^bits per byte +\d+\.\d{5}$/m)
    const wrong = await runChild('lib/cli.ts', ['perplexity', '-m', shipped])
    expect(wrong.code).toBe(2)
  })
})
