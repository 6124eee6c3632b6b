// The tables of options: the API and the command line take and refuse the same values.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bench } from '../../lib/bench/bench.js'
import { PLAIN_CHAT_TEMPLATE } from '../../lib/chat/plain-template.js'
import { parseArguments } from '../../lib/cli/arguments.js'
import { benchCommand } from '../../lib/cli/bench.js'
import { type Command, UsageError } from '../../lib/cli/command.js'
import { optionsOf } from '../../lib/cli/flags.js'
import { generateCommand } from '../../lib/cli/generate.js'
import { tuneCommand } from '../../lib/cli/tune.js'
import { GREEDY } from '../../lib/engine/sampler-settings.js'
import { UnsupportedOptionError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { Model } from '../../lib/model.js'
import { createDevice } from '../../lib/operations/create-device.js'
import { DEVICE } from '../../lib/operations/device-options.js'
import { BENCH, type BenchOptions } from '../../lib/options/bench.js'
import { GENERATION, type GenerateOptions, SAMPLES } from '../../lib/options/generation.js'
import {
  LOADING,
  type LoadOptions,
  MODEL_LOADING,
  PROMPT_CACHE,
  QUANTIZATION,
} from '../../lib/options/loading.js'
import type { CLASSIFY, ClassifyOptions } from '../../lib/options/scoring.js'
import type { SAVE_SESSION, SaveSessionOptions } from '../../lib/options/sessions.js'
import { TUNE, type TuneOptions } from '../../lib/options/tune.js'
import { tune } from '../../lib/tune/tune.js'
import {
  type NumberRow,
  type OptionRow,
  type OptionRows,
  optionValue,
} from '../../lib/support/option-table.js'
import { perplexity } from '../../lib/scoring/perplexity.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { ROOT } from '../support/child-process.js'

let model: Model
beforeAll(async () => {
  model = await loadModel(undefined, { device: 'cpu', threads: 1 })
})
afterAll(() => model.dispose())

type Range = [least: number | undefined, most: number | undefined]

/** The ranges of a table, by option. */
function rangesOf(rows: OptionRows): Record<string, Range> {
  const ranges: Record<string, Range> = {}
  for (const [name, row] of Object.entries(rows)) {
    if ('min' in row || 'max' in row) ranges[name] = [row.min, row.max]
  }
  return ranges
}

describe('the ranges, so that none changes unseen', () => {
  it.each<[string, OptionRows, Record<string, Range>]>([
    [
      'generation',
      SAMPLES,
      {
        temperature: [0, 1000],
        topK: [0, 2 ** 31],
        topP: [0, 1],
        minP: [0, 1],
        repetitionPenalty: [0.01, 100],
        repetitionContextSize: [1, 65_536],
        presencePenalty: [-2, 2],
        frequencyPenalty: [-2, 2],
        seed: [0, undefined],
        prefillChunkSize: [1, 960],
        maxTokens: [1, undefined],
        logprobs: [0, 100],
        n: [1, 128],
      },
    ],
    [
      'loading',
      LOADING,
      {
        threads: [1, 1024],
        gpuTimeout: [0.1, 86_400],
        maxStreams: [1, 256],
        maxQueue: [0, 2 ** 20],
        maxContext: [1, 2 ** 32 - 1],
      },
    ],
    ['the prompt cache', PROMPT_CACHE, { maxBytes: [0, undefined] }],
    [
      'the benchmark',
      BENCH,
      {
        promptTokens: [0, 2 ** 24],
        generationTokens: [0, 2 ** 24],
        depths: [0, 2 ** 24],
        batchSizes: [1, 256],
        repetitions: [1, undefined],
        threads: [1, 1024],
        seed: [0, 2 ** 32 - 1],
      },
    ],
  ])('of %s', (_, rows, ranges) => expect(rangesOf(rows)).toEqual(ranges))

  it('of choices', () => {
    expect(LOADING.device.choices).toEqual(['auto', 'cpu', 'metal'])
    expect(LOADING.dtype.choices).toEqual(['auto', 'float32', 'float16', 'bfloat16'])
    expect(LOADING.memory.choices).toEqual(['checked', 'unchecked'])
    expect(TUNE.device.choices).toEqual(['auto', 'metal'])
    expect(QUANTIZATION.bits.choices).toEqual([4, 5, 6, 8])
    expect(QUANTIZATION.groupSize.choices).toEqual([32, 64, 128])
  })
})

/** Choices of an interface that its table leaves out. */
type Unlisted<Options, Rows> = {
  [Name in keyof Options & keyof Rows]-?: Rows[Name] extends { choices: readonly (infer Choice)[] }
    ? Exclude<NonNullable<Options[Name]>, Choice>
    : never
}[keyof Options & keyof Rows]
type IsComplete<Options, Rows> = [Unlisted<Options, Rows>] extends [never] ? true : false

it('a table lists every choice of its interface', () => {
  const complete: IsComplete<LoadOptions, typeof LOADING> &
    IsComplete<TuneOptions, typeof TUNE> &
    IsComplete<NonNullable<LoadOptions['quantize']>, typeof QUANTIZATION> &
    IsComplete<ClassifyOptions, typeof CLASSIFY> &
    IsComplete<SaveSessionOptions, typeof SAVE_SESSION> = true
  expect(complete).toBe(true)
})

it('what generation leaves out is greedy', () => {
  const { seed, repetitionContextSize, ...greedy } = GREEDY
  const defaults = Object.keys(greedy).map((name) => [
    name,
    (GENERATION[name as keyof typeof GENERATION] as NumberRow).default,
  ])
  expect(Object.fromEntries(defaults)).toEqual(greedy)
})

interface Sample {
  value: unknown
  /** On the command line. */
  text: string
  isAllowed: boolean
}

/** The ends of a range and one beyond each, or the choices and one more. */
function samplesOf(row: OptionRow): Sample[] {
  const sample = (value: unknown, isAllowed: boolean) => ({ value, text: `${value}`, isAllowed })
  switch (row.type) {
    case 'number':
    case 'integer': {
      const step = row.type === 'integer' ? 1 : 0.001
      const most = row.max ?? Number.MAX_SAFE_INTEGER
      return [
        sample(row.min!, true),
        sample(most, true),
        sample(row.min! - step, false),
        sample(most + step, false),
        ...(row.type === 'integer' ? [sample(row.min! + 0.5, false)] : []),
      ]
    }
    case 'integers':
      return [row.min, row.max, row.min - 1, row.max + 1].map((value, i) => ({
        ...sample([value], i < 2),
        text: `${value}`,
      }))
    case 'choice': {
      const other = typeof row.choices[0] === 'number' ? 5 : 'other'
      return [...row.choices.map((choice) => sample(choice, true)), sample(other, false)]
    }
    default:
      return []
  }
}

/** Whether a call takes its options: other errors than those of options come later. */
async function takes(call: () => unknown): Promise<boolean> {
  try {
    await call()
    return true
  } catch (error) {
    if (error instanceof UsageError || error instanceof UnsupportedOptionError) return false
    return !(error instanceof RangeError || error instanceof TypeError)
  }
}

const NOWHERE = join(ROOT, 'test', 'nowhere')

/** What takes the options of a table. */
interface Taker {
  command: Command
  rows: OptionRows
  /** Checks the options, and does as little else as can be. */
  call(options: object): unknown
}

const generation: Taker = {
  command: generateCommand as unknown as Command,
  rows: GENERATION,
  async call(options) {
    const stream = model.stream('Once', options as GenerateOptions)
    await stream.return()
  },
}
const loading: Taker = {
  command: generation.command,
  rows: MODEL_LOADING,
  call: (options) => loadModel(NOWHERE, options),
}
const devices: Taker = {
  command: generation.command,
  rows: DEVICE,
  // No device of so many threads is begun where they are allowed.
  call(options) {
    const { threads = 1 } = options as { threads?: number }
    if (threads > 1 && optionValue('test', DEVICE, 'threads', { threads }) === threads) return
    createDevice('cpu', options).dispose()
  },
}
const benchmark: Taker = {
  command: benchCommand as unknown as Command,
  rows: BENCH,
  call: (options) => bench({ ...(options as BenchOptions), models: [NOWHERE] }),
}

const tuning: Taker = {
  command: tuneCommand as unknown as Command,
  rows: TUNE,
  // Where there is a GPU it ends before anything is measured, and nowhere is anything saved.
  call: (options) => tune({ signal: AbortSignal.abort(), dryRun: true, ...options }),
}

/** What else an option needs to change something. */
const beside = (row: OptionRow): object => {
  const needs = 'needs' in row ? row.needs?.option : undefined
  return needs === undefined ? {} : { [needs]: 1.5 }
}

const takers = Object.entries({ generation, loading, devices, benchmark, tuning })

const cases = takers.flatMap(([of, taker]) =>
  Object.entries(taker.rows)
    // The CPU has none.
    .filter(([name]) => name !== 'gpuTimeout')
    .flatMap(([name, row]) => samplesOf(row).map((sample) => ({ of, taker, name, row, sample }))),
)

describe('takes the ends of each range, and nothing beyond', () => {
  it.each(cases)('$of: $name $sample.text, in the API', async ({ taker, name, row, sample }) => {
    const options = { ...beside(row), [name]: sample.value }
    expect(await takes(() => taker.call(options))).toBe(sample.isAllowed)
  })

  const flagged = cases.filter(({ row }) => row.flag !== undefined)
  it.each(flagged)('$of: $name $sample.text, on the command line', async (given) => {
    const { taker, name, row, sample } = given
    for (const flag of [row.flag!.name, ...(row.flag!.aliases ?? [])]) {
      const read = () => {
        const { args } = parseArguments(taker.command, [`--${flag}=${sample.text}`])
        return optionsOf(taker.rows, args.options) as Record<string, unknown>
      }
      if (sample.isAllowed) expect(read()[name]).toEqual(sample.value)
      else if (!row.flag!.hidesMaximum && row.type !== 'integers') expect(read).toThrow(UsageError)
      const call = () => taker.call({ ...read(), ...beside(row) })
      expect(await takes(call)).toBe(sample.isAllowed)
    }
  })

  it.each([true, false])('samples (allowed: %s)', async (isAllowed) => {
    const { min, max } = SAMPLES.n
    for (const n of isAllowed ? [min] : [min - 1, max + 1]) {
      const call = () => model.generate([5], { n, maxTokens: 1, temperature: 1 })
      expect(await takes(call)).toBe(isAllowed)
    }
  })

  it('quantisation', async () => {
    for (const bits of [4, 5, 6, 8, 3]) {
      for (const groupSize of [32, 64, 128, 16]) {
        const words = [`--q-bits=${bits}`, `--q-group-size=${groupSize}`]
        const isAllowed = bits !== 3 && groupSize !== 16
        const options = { quantize: { bits, groupSize } } as LoadOptions
        expect(await takes(() => loadModel(NOWHERE, options))).toBe(isAllowed)
        const read = () => optionsOf(LOADING, parseArguments(loading.command, words).args.options)
        expect(await takes(read)).toBe(isAllowed)
        if (isAllowed) expect(read().quantize).toEqual(options.quantize)
      }
    }
    const { options } = parseArguments(loading.command, ['--q-group-size=32']).args
    expect(() => optionsOf(LOADING, options)).toThrow(
      new UsageError('--q-group-size needs --q-bits'),
    )
  })

  it('the prompt cache', async () => {
    for (const [maxBytes, isAllowed] of [
      [0, true],
      [-1, false],
      [0.5, false],
    ] as const) {
      const call = () => loadModel(NOWHERE, { promptCache: { maxBytes } })
      expect(await takes(call)).toBe(isAllowed)
    }
  })
})

/** A value of another type than a row's options have; undefined where the row does not say. */
const mistyped = ({ type }: OptionRow) =>
  type === 'texts' || type === 'other' ? undefined : type === 'string' ? 5 : 'no'

const mistakes = takers.flatMap(([of, taker]) =>
  Object.entries(taker.rows)
    .filter(([, row]) => mistyped(row) !== undefined)
    .map(([name, row]) => ({ of, taker, name, row, value: mistyped(row) })),
)

describe('refuses a value of another type', () => {
  it.each(mistakes)('$of: $name $value', async ({ taker, name, row, value }) => {
    const call = async () => taker.call({ [name]: value })
    await expect(call()).rejects.toThrow(row.type === 'choice' ? UnsupportedOptionError : TypeError)
    await expect(call()).rejects.toThrow(new RegExp(`\\b${name}\\b.* must be `))
  })

  it('in the words of all options', async () => {
    const odd = (options: object) => bench(options)
    await expect(odd({ warmup: 'no' })).rejects.toThrow(
      new TypeError('[bench] warmup must be true or false but is "no"'),
    )
    await expect(odd({ onProgress: 5 })).rejects.toThrow(
      new TypeError('[bench] onProgress must be a function but is 5'),
    )
    await expect(odd({ dtype: 'int8' })).rejects.toThrow(
      new UnsupportedOptionError(
        "[bench] dtype must be 'auto', 'float32', 'float16' or 'bfloat16' but is \"int8\"",
      ),
    )
    await expect(odd({ quantize: { bits: 3 } })).rejects.toThrow(
      new UnsupportedOptionError('[bench] quantize.bits must be 4, 5, 6 or 8 but is 3'),
    )
    await expect(tune({ quick: 1 } as object)).rejects.toThrow(
      new TypeError('[tune] quick must be true or false but is 1'),
    )
  })

  it('but takes null and false for no quantisation', async () => {
    for (const blank of [null, false, undefined]) {
      const options = { quantize: blank, dtype: null } as object
      expect(await takes(() => loading.call(options))).toBe(true)
      expect(await takes(() => benchmark.call(options))).toBe(true)
    }
  })
})

describe('the words for a mistake', () => {
  const known = (...names: string[]) => `unknown option "#". Known: ${names.join(', ')}`
  const call: Record<string, (options: object) => unknown> = {
    score: (options) => model.score('a', ['b'], options),
    classify: (options) => model.classify('a', ['b'], options),
    perplexity: (options) => perplexity(model, 'a', options),
    prefill: (options) => model.createSession().prefill('a', options),
    save: (options) => model.createSession().save(NOWHERE, options),
    createChat: (options) => model.createChat(options),
    applyChatTemplate: (options) =>
      model.applyChatTemplate([{ role: 'user', content: 'a' }], {
        template: PLAIN_CHAT_TEMPLATE,
        ...options,
      }),
    send: (options) =>
      model.createChat({ template: PLAIN_CHAT_TEMPLATE }).send('a', options as GenerateOptions),
    encode: (options) => model.encode('a', options),
    'tokenizer.encode': (options) => model.tokenizer!.encode('a', options),
    tokenizer: (options) => model.tokenizer!.decode([5], options),
    'Tokenizer.fromFile': (options) => Tokenizer.fromFile(NOWHERE, options),
  }
  const READING = ['parseSpecial', 'signal', 'prefillChunkSize']
  const yesOrNo = 'must be true or false but is 1'
  const changesNothing =
    'changes nothing in a chat, whose template writes special tokens: leave it out'

  it.each<[string, object, string]>([
    ['score', { '#': 1 }, known(...READING)],
    ['score', { parseSpecial: 1 }, `parseSpecial ${yesOrNo}`],
    ['score', { signal: 1 }, 'signal must be an AbortSignal but is 1'],
    [
      'score',
      { prefillChunkSize: 0 },
      'prefillChunkSize must be a whole number from 1 to 960 but is 0',
    ],
    ['classify', { '#': 1 }, known(...READING, 'lengthNormalization')],
    ['classify', { parseSpecial: 1 }, `parseSpecial ${yesOrNo}`],
    [
      'classify',
      { lengthNormalization: 'mean' },
      'lengthNormalization must be one of none, tokens, bytes but is "mean"',
    ],
    [
      'classify',
      { lengthNormalization: null },
      'lengthNormalization must be one of none, tokens, bytes but is null',
    ],
    ['perplexity', { '#': 1 }, known('signal', 'prefillChunkSize', 'parseSpecial', 'onProgress')],
    ['perplexity', { signal: 1 }, 'signal must be an AbortSignal but is 1'],
    ['perplexity', { prefillChunkSize: '9' }, 'prefillChunkSize must be a number but is "9"'],
    ['prefill', { '#': 1 }, known('parseSpecial', 'addSpecialTokens', 'signal')],
    ['prefill', { addSpecialTokens: 1 }, `addSpecialTokens ${yesOrNo}`],
    ['prefill', { signal: 1 }, 'signal must be an AbortSignal but is 1'],
    ['save', { '#': 1 }, known('dtype', 'tokens')],
    ['save', { dtype: 'bfloat16' }, `dtype must be 'float32' or 'float16' but is "bfloat16"`],
    ['save', { tokens: 1 }, `tokens ${yesOrNo}`],
    [
      'createChat',
      { '#': 1 },
      known('system', 'messages', 'template', 'tools', 'templateArguments'),
    ],
    ['createChat', { system: 1 }, 'system must be a string but is 1'],
    ['createChat', { template: 1 }, 'template must be a string but is 1'],
    ['applyChatTemplate', { template: 1 }, 'template must be a string but is 1'],
    ['applyChatTemplate', { addGenerationPrompt: 1 }, `addGenerationPrompt ${yesOrNo}`],
    ['send', { parseSpecial: true }, `parseSpecial ${changesNothing}`],
    ['send', { addSpecialTokens: false }, `addSpecialTokens ${changesNothing}`],
    ['encode', { '#': 1 }, known('parseSpecial', 'addSpecialTokens')],
    ['tokenizer.encode', { '#': 1 }, known('addSpecialTokens', 'parseSpecial')],
    ['tokenizer.encode', { addSpecialTokens: 1 }, `addSpecialTokens ${yesOrNo}`],
    ['tokenizer.encode', { parseSpecial: 1 }, `parseSpecial ${yesOrNo}`],
    ['tokenizer', { '#': 1 }, known('skipSpecialTokens', 'keepLeadingSpace')],
    ['Tokenizer.fromFile', { '#': 1 }, known('onNotice')],
  ])('%s with %j', async (operation, options, problem) => {
    const refused = (async () => call[operation]!(options))()
    await expect(refused).rejects.toMatchObject({ message: `[${operation}] ${problem}` })
  })
})

describe('the command line', () => {
  it.each([
    ['generate', generateCommand, { ...GENERATION, ...LOADING, ...QUANTIZATION }],
    ['bench', benchCommand, { ...BENCH, ...QUANTIZATION }],
    ['tune', tuneCommand, TUNE],
  ])('%s has every flag of its tables', (_, command, rows: OptionRows) => {
    const names = Object.values(rows).flatMap(({ flag }) => flag?.name ?? [])
    expect(Object.keys(command.options)).toEqual(expect.arrayContaining(names))
  })

  it('says no by the flags that are named so', () => {
    const read = (...words: string[]) =>
      optionsOf(
        { ...GENERATION, ...LOADING },
        parseArguments(generation.command, words).args.options,
      )
    expect(read()).toMatchObject({ parseSpecial: true, generationConfig: true, ignoreEos: false })
    expect(
      read('--no-parse-special', '--no-generation-config', '--ignore-eos', '--stop', 'a'),
    ).toMatchObject({ parseSpecial: false, generationConfig: false, ignoreEos: true, stop: ['a'] })
  })

  it('writes no range of its own', () => {
    const folder = join(ROOT, 'lib', 'cli')
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    for (const name of names.filter((name) => name.endsWith('.ts'))) {
      const text = readFileSync(join(folder, name), 'utf8')
      expect(`${name}: ${/\b(?:min|max|minimum|maximum): *[-\d(]/.exec(text)}`).toBe(
        `${name}: null`,
      )
      expect(`${name}: ${/\bchoices: *\[/.exec(text)}`).toBe(`${name}: null`)
    }
  })
})
