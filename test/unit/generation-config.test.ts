import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type GenerationDefaults,
  readGenerationConfig,
  withDefaults,
} from '../../lib/generation/generation-config.js'
import type { Notice } from '../../lib/support/notices.js'
import { samplerOf } from '../../lib/generation/sampler.js'
import type { SamplingOptions } from '../../lib/options/generation.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { seededIntegers } from './random.js'

async function read(content: object | string) {
  const folder = await temporaryFolder()
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  await writeFile(join(folder, 'generation_config.json'), text)
  const notices: Notice[] = []
  const config = readGenerationConfig(folder, (notice) => notices.push(notice))
  expect(new Set(notices.map(({ code }) => code)).size).toBeLessThanOrEqual(1)
  return { ...config, notices: notices.map(({ message }) => message) }
}

const SAMPLES = { do_sample: true }

describe('what a file says', () => {
  it.each<[string, object, GenerationDefaults]>([
    ['nothing', {}, {}],
    ['no sampling', { temperature: 0.6, top_p: 0.9, top_k: 3, min_p: 0.1 }, {}],
    ['no sampling, in words', { do_sample: false, temperature: 0.6 }, {}],
    ['no sampling, by null', { do_sample: null, temperature: 0.6, typical_p: 0.5 }, {}],
    ['that it samples', SAMPLES, { temperature: 1, topK: 50 }],
    [
      'nulls',
      { ...SAMPLES, temperature: null, top_k: null, top_p: null, min_p: null, typical_p: null },
      { temperature: 1, topK: 50 },
    ],
    [
      'everything',
      {
        ...SAMPLES,
        temperature: 0.7,
        top_k: 20,
        top_p: 0.8,
        min_p: 0.05,
        repetition_penalty: 1.05,
      },
      { temperature: 0.7, topK: 20, topP: 0.8, minP: 0.05, repetitionPenalty: 1.05 },
    ],
    [
      'values that change nothing',
      {
        ...SAMPLES,
        top_k: 0,
        top_p: 1,
        min_p: 0,
        repetition_penalty: 1,
        typical_p: 1,
        num_beams: 1,
      },
      { temperature: 1 },
    ],
    [
      'temperature 0',
      { ...SAMPLES, temperature: 0, top_k: 20, repetition_penalty: 1.2 },
      { repetitionPenalty: 1.2 },
    ],
    ['a penalty alone', { repetition_penalty: 1.3 }, { repetitionPenalty: 1.3 }],
    [
      'what nobody knows',
      { ...SAMPLES, top_k: 5, transformers_version: '5.1', __proto: 1 },
      { temperature: 1, topK: 5 },
    ],
  ])('%s', async (_, content, defaults) => {
    const config = await read(content)
    expect(config).toEqual({
      name: 'generation_config.json',
      eosTokenIds: [],
      defaults,
      notices: [],
    })
    expect(Object.isFrozen(config.defaults)).toBe(true)
    samplerOf('test', withDefaults({}, config.defaults))
  })

  it.each<[object, GenerationDefaults, RegExp]>([
    [
      { ...SAMPLES, temperature: -1 },
      { temperature: 1, topK: 50 },
      /temperature must be a number from 0 to 1000 but is -1/,
    ],
    [
      { ...SAMPLES, temperature: '0.7' },
      { temperature: 1, topK: 50 },
      /temperature must be a number but is "0.7"/,
    ],
    [
      { ...SAMPLES, temperature: [0.7] },
      { temperature: 1, topK: 50 },
      /temperature must be a number but is an array of 1/,
    ],
    [
      { ...SAMPLES, top_k: 2.5 },
      { temperature: 1, topK: 50 },
      /top_k must be a whole number from 0 to 2147483648 but is 2.5/,
    ],
    [{ ...SAMPLES, top_k: -1 }, { temperature: 1, topK: 50 }, /top_k must be a whole number/],
    [
      { ...SAMPLES, top_k: 0, top_p: 1.01 },
      { temperature: 1 },
      /top_p must be a number from 0 to 1 but is 1.01/,
    ],
    [
      { ...SAMPLES, top_k: 0, min_p: true },
      { temperature: 1 },
      /min_p must be a number but is true/,
    ],
    [
      { repetition_penalty: 0 },
      {},
      /repetition_penalty must be a number from 0.01 to 100 but is 0/,
    ],
    [
      { do_sample: 1, temperature: 0.5, repetition_penalty: 2 },
      { repetitionPenalty: 2 },
      /do_sample must be true or false but is 1/,
    ],
    [
      { ...SAMPLES, typical_p: 0.9 },
      { temperature: 1, topK: 50 },
      /typical_p is 0.9, which is not implemented/,
    ],
    [
      { ...SAMPLES, eta_cutoff: 'x' },
      { temperature: 1, topK: 50 },
      /eta_cutoff must be a number but is "x"/,
    ],
    [{ num_beams: 4 }, {}, /num_beams is 4, which is not implemented/],
  ])('%j: one value is left out with a notice', async (content, defaults, message) => {
    const config = await read(content)
    expect(config.defaults).toEqual(defaults)
    expect(config.notices).toHaveLength(1)
    expect(config.notices[0]).toMatch(/^not used: .*generation_config\.json: /)
    expect(config.notices[0]).toMatch(message)
  })

  it('numbers that JSON has no word for', async () => {
    const { defaults, notices } = await read(
      '{"do_sample": true, "temperature": Infinity, "top_p": NaN, "top_k": 1e400}',
    )
    expect(defaults).toEqual({ temperature: 1, topK: 50 })
    expect(notices).toHaveLength(3)
  })

  it('ends of text beside values that cannot be used, and the other way round', async () => {
    const ends = await read({ eos_token_id: [7, 5], ...SAMPLES, temperature: 'warm' })
    expect(ends).toMatchObject({ eosTokenIds: [7, 5], defaults: { temperature: 1, topK: 50 } })
    const sampling = await read({ eos_token_id: ['</s>'], ...SAMPLES, temperature: 0.5 })
    expect(sampling).toMatchObject({ eosTokenIds: [], defaults: { temperature: 0.5, topK: 50 } })
    expect([...ends.notices, ...sampling.notices]).toHaveLength(2)
  })

  it.each([
    '',
    '[]',
    'null',
    '{"do_sample": ',
    '"do_sample"',
    '['.repeat(5000),
    ' '.repeat(2 ** 20 + 1),
  ])('nothing where it is no such file: %.20j', async (text) => {
    const config = await read(text)
    expect(config).toMatchObject({ eosTokenIds: [], defaults: {} })
    expect(config.notices).toHaveLength(1)
    expect(config.notices[0]).toMatch(/^not used: .*generation_config\.json/)
  })

  it('nothing without a notice where there is none, with one where it is a folder', async () => {
    const folder = await temporaryFolder()
    const notices: Notice[] = []
    const from = () => readGenerationConfig(folder, (notice) => notices.push(notice))
    expect(from()).toMatchObject({ eosTokenIds: [], defaults: {} })
    expect(notices).toEqual([])
    await mkdir(join(folder, 'generation_config.json'))
    expect(from()).toMatchObject({ eosTokenIds: [], defaults: {} })
    expect(notices).toHaveLength(1)
  })

  it('whatever stands there, a sampler takes it', async () => {
    const draw = seededIntegers(9)
    const keys = [
      'do_sample',
      'temperature',
      'top_k',
      'top_p',
      'min_p',
      'typical_p',
      'repetition_penalty',
      'num_beams',
      'eos_token_id',
    ]
    const values = [
      'true',
      'true',
      'false',
      'null',
      '0',
      '-0',
      '1',
      '0.5',
      '-3',
      '1e9',
      '1e-9',
      '1e999',
      'NaN',
      '-Infinity',
      '""',
      '"1"',
      '[]',
      '{}',
      '[[]]',
      '2147483649',
      '0.005',
    ]
    for (let i = 0; i < 300; i++) {
      const entries = keys
        .filter(() => draw(3) > 0)
        .map((key) => `"${key}": ${values[draw(values.length)]}`)
      const { defaults } = await read(`{${entries.join()}}`)
      samplerOf('test', withDefaults({}, defaults))
      samplerOf('test', withDefaults({ temperature: 0 }, defaults))
    }
  })
})

describe('the options of a call', () => {
  const sampling = { temperature: 0.7, topK: 20, topP: 0.8, minP: 0.05, repetitionPenalty: 1.1 }

  it.each<[string, SamplingOptions, GenerationDefaults, SamplingOptions]>([
    ['none', {}, sampling, sampling],
    ['undefined ones', { temperature: undefined, topK: undefined }, sampling, sampling],
    [
      'win one by one',
      { topK: 5, repetitionPenalty: 1 },
      sampling,
      { ...sampling, topK: 5, repetitionPenalty: 1 },
    ],
    [
      'values that change nothing win too',
      { topP: 1, minP: 0, topK: 0 },
      sampling,
      { ...sampling, topP: 1, minP: 0, topK: 0 },
    ],
    [
      'greedy ones drop what needs a temperature',
      { temperature: 0 },
      sampling,
      { temperature: 0, repetitionPenalty: 1.1 },
    ],
    [
      'greedy ones keep their own',
      { temperature: 0, topK: 5 },
      sampling,
      { temperature: 0, topK: 5, repetitionPenalty: 1.1 },
    ],
    ['a warmer one keeps the rest', { temperature: 2 }, sampling, { ...sampling, temperature: 2 }],
    ['without defaults stay as they are', { topK: 5, seed: 3 }, {}, { topK: 5, seed: 3 }],
    [
      'others are kept',
      { seed: 3, repetitionContextSize: 9 },
      sampling,
      { ...sampling, seed: 3, repetitionContextSize: 9 },
    ],
  ])('%s', (_, options, defaults, expected) => {
    expect(withDefaults(options, defaults)).toEqual(expected)
  })

  it('that make no sense are refused as they are without defaults', () => {
    expect(() => samplerOf('generate', withDefaults({ topK: 5 }, {}))).toThrow(
      /topK changes nothing without a temperature above 0/,
    )
    expect(() =>
      samplerOf('generate', withDefaults({ temperature: 0, topK: 5 }, sampling)),
    ).toThrow(/topK changes nothing/)
    expect(() => samplerOf('generate', withDefaults({ topK: null as never }, sampling))).toThrow(
      TypeError,
    )
  })
})
