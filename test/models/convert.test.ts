// Converting: what is written computes what the original does, and nothing is there before all of it is. That mlx-lm loads
// it, and computes the same, is held in test/mlx.

import { cpSync, readdirSync } from 'node:fs'
import { cp, mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { convert } from '../../lib/convert/convert.js'
import { outputOf } from '../../lib/convert/outputs.js'
import { planTensors } from '../../lib/convert/plan.js'
import { writeWeights } from '../../lib/convert/write-weights.js'
import { loadModel } from '../../lib/load-model.js'
import { openCheckpoint } from '../../lib/models/checkpoint.js'
import { createDevice } from '../../lib/operations/create-device.js'
import type { ConvertOptions, ConvertQuantization } from '../../lib/options/converting.js'
import type { LoadOptions } from '../../lib/options/loading.js'
import type { JsonObject } from '../../lib/support/json.js'
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import { decodeFloat, FLOAT_FORMATS } from '../reference/float-formats.js'
import {
  converted,
  copyOfFixture,
  fixture,
  mapTensors,
  numbersOf,
  type RawTensors,
  rawTensor,
  readRawTensors,
  rewriteConfig,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const TOKENS = [5, 6, 7, 100, 200, 3, 9, 11, 50, 77, 1, 2]

async function logitsOf(path: string, options: LoadOptions = {}): Promise<Float32Array> {
  using model = await loadModel(path, { device: 'cpu', ...options })
  return (await model.logits(TOKENS)).data
}

/** A conversion, in a new folder. */
async function convertedTo(from: string, options: ConvertOptions = {}): Promise<string> {
  const to = join(await temporaryFolder(), 'out')
  await convert(from, to, options)
  return to
}

const configOf = async (folder: string): Promise<JsonObject> =>
  JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'))

const weightsOf = async (folder: string): Promise<RawTensors> =>
  (await readRawTensors(join(folder, 'model.safetensors'))).tensors

// One of each family, and of each layout of its files.
const FOLDED = ['falcon-h1', 'falcon-h1-norm']
// Its routers have 8 bits.
const PLAIN = ['granite-h', 'mamba2-state-spaces', 'qwen3-5-moe']
const NAMES = [
  ...['bamba', 'granite-h', 'lfm2', 'llamba', 'llamba-bin', 'mamba2-hf', 'mamba2-hf-groups'],
  ...['mamba2-state-spaces', 'mamba2attn', 'nemotron-h', 'qwen3-5', 'qwen3-5-vl', 'rene'],
  ...['zamba2', 'zamba2-plain'],
]

describe('the logits of a converted model', () => {
  it.each(PLAIN)('%s: are those of the original, bit for bit', async (name) => {
    expect(await logitsOf(await convertedTo(fixture(name)))).toEqual(await logitsOf(fixture(name)))
  })

  it.each(NAMES)('%s: are those of one quantised on load, bit for bit', async (name) => {
    const quantize = { bits: 4, groupSize: 32 } as const
    const path = await convertedTo(fixture(name), { quantize })
    expect(await logitsOf(path)).toEqual(await logitsOf(fixture(name), { quantize }))
  })

  it.each(FOLDED)('%s: are the same with every factor in the weights', async (name) => {
    for (const quantize of [undefined, { bits: 5, groupSize: 32 } as const]) {
      const path = await convertedTo(fixture(name), { quantize })
      const expected = await logitsOf(fixture(name), { quantize })
      expect(relativeL2(await logitsOf(path), expected)).toBeLessThan(GOLDEN_RELATIVE_L2)
    }
  })

  it("holds all factors where mlx-lm's file has left some out", async () => {
    const folder = await copyOfFixture('falcon-h1-bf16')
    await rewriteTensors(folder, (all) => mapTensors(all, (each) => converted(each, 'float32')))
    const path = await convertedTo(folder)
    const expected = await logitsOf(folder)
    expect(relativeL2(await logitsOf(path), expected)).toBeLessThan(GOLDEN_RELATIVE_L2)
    const { key_multiplier: key, attention_in_multiplier: input } = await configOf(path)
    expect([key, input]).toEqual([1, 1])
  })

  // What MLX makes of the same numbers is held in test/mlx.
  it.each(['mxfp4', 'nvfp4'] as const)(
    'are those of the numbers that %s stands for',
    async (mode) => {
      const path = await convertedTo(fixture('rene'), { quantize: { mode } })
      const tensors = await weightsOf(path)
      const folder = await copyOfFixture('rene')
      await rewriteTensors(folder, (all) => {
        const module = (name: string) => name.replace(/\.weight$/, '')
        const isQuantized = (name: string) => tensors.has(`${module(name)}.scales`)
        expect([...all.keys()].filter(isQuantized).length).toBeGreaterThan(5)
        for (const [name, { shape }] of all) {
          if (!isQuantized(name)) continue
          all.set(name, rawTensor('float32', shape, smallFloats(tensors, module(name), mode)))
        }
        return all
      })
      expect(relativeL2(await logitsOf(path), await logitsOf(folder))).toBeLessThan(1e-6)
    },
  )
})

function decodeE4m3(code: number): number {
  const [exponent, fraction] = [code >> 3, code & 7]
  return exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10)
}

const MAGNITUDES = [0, 0.5, 1, 1.5, 2, 3, 4, 6]

/** The numbers of a matrix of mxfp4 or nvfp4. */
function smallFloats(tensors: RawTensors, module: string, mode: 'mxfp4' | 'nvfp4'): number[] {
  const { data } = tensors.get(`${module}.weight`)!
  const { data: scales } = tensors.get(`${module}.scales`)!
  const groupSize = mode === 'mxfp4' ? 32 : 16
  return Array.from({ length: 2 * data.length }, (_, i) => {
    const code = (data[i >> 1]! >> (4 * (i & 1))) & 15
    const stored = scales[Math.floor(i / groupSize)]!
    const scale = mode === 'mxfp4' ? 2 ** (stored - 127) : decodeE4m3(stored)
    return (code & 8 ? -1 : 1) * MAGNITUDES[code & 7]! * scale
  })
}

describe('the file of a converted model', () => {
  it('has experts of one matrix each as one, and routers in 8 bits', async () => {
    const path = await convertedTo(fixture('qwen3-5-moe'), { quantize: { mode: 'nvfp4' } })
    const layer = 'language_model.model.layers.0.mlp'
    const tensors = await weightsOf(path)
    expect(tensors.get(`${layer}.switch_mlp.down_proj.weight`)!.shape).toEqual([8, 64, 6])
    expect(tensors.get(`${layer}.gate.weight`)!.shape).toEqual([8, 16])
    const { quantization } = await configOf(path)
    expect(quantization).toMatchObject({ bits: 4, group_size: 16, mode: 'nvfp4' })
    const own = (quantization as JsonObject)[`${layer}.gate`]
    expect(own).toEqual({ bits: 8, group_size: 64 })
    expect(tensors.has(`${layer}.gate.biases`)).toBe(true)
  })

  it('has the types that are asked for, but for decays', async () => {
    const path = await convertedTo(fixture('mamba2-hf'), { dtype: 'bfloat16' })
    for (const [name, { dtype }] of await weightsOf(path)) {
      expect(dtype, name).toBe(name.endsWith('.A_log') ? 'float32' : 'bfloat16')
    }
    const rounded = (x: number) => decodeFloat(x, FLOAT_FORMATS.bfloat16)
    const embedding = (await weightsOf(path)).get('backbone.embeddings.weight')!
    const original = (await weightsOf(fixture('mamba2-hf'))).get('backbone.embeddings.weight')!
    const expected = new Uint16Array(converted(original, 'bfloat16').data.buffer)
    expect(numbersOf(embedding)).toEqual(Array.from(expected, rounded))
    expect((await configOf(path)).dtype).toBe('bfloat16')
  })

  it('is the same however few rows are dealt with at once', async () => {
    const quantize = { bits: 6, groupSize: 32 } as const
    for (const name of ['falcon-h1', 'mamba2-state-spaces', 'qwen3-5-moe']) {
      const [whole, folder] = [
        await convertedTo(fixture(name), { quantize }),
        await temporaryFolder(),
      ]
      const checkpoint = await openCheckpoint(fixture(name))
      const wishes = { dtype: undefined, quantize }
      const form = checkpoint.mlx!()
      const outputs = planTensors(checkpoint, form).map((each) => outputOf(each, wishes, form))
      const path = join(folder, 'model.safetensors')
      const file = await open(path, 'wx')
      using device = createDevice('cpu')
      const options = { metadata: { format: 'mlx' }, signal: undefined, onProgress: undefined }
      await writeWeights(file, outputs, device, { ...options, chunk: 2500 })
      await file.close()
      const expected = await readFile(join(whole, 'model.safetensors'))
      expect((await readFile(path)).equals(expected), name).toBe(true)
    }
  })

  it('has a head of its own where mlx-lm has no other', async () => {
    const folder = await copyOfFixture('nemotron-h')
    await rewriteConfig(folder, (config) => ({ ...config, tie_word_embeddings: true }))
    await rewriteTensors(folder, (tensors) => {
      tensors.delete('lm_head.weight')
      return tensors
    })
    const path = await convertedTo(folder)
    expect((await weightsOf(path)).has('lm_head.weight')).toBe(true)
    expect(await logitsOf(path)).toEqual(await logitsOf(folder))
  })

  it('has floats where transformers 5 wants floats', async () => {
    const path = await convertedTo(fixture('falcon-h1'))
    const text = (await readFile(join(path, 'config.json'), 'utf8')).replaceAll(/\s/g, '')
    expect(text).toContain('"time_step_limit":[0.0,{"__float__":"Infinity"}]')
    expect(text).toContain('"mlp_multipliers":[1.0,1.0]')
    expect(text).toMatch(
      /"key_multiplier":1\.0,.*"attention_dropout":0\.0|"attention_dropout":0\.0,.*"key_multiplier":1\.0/,
    )
    expect(text).toContain('"vocab_size":256')
  })

  it('counts bits and parameters as they are in it', async () => {
    const to = join(await temporaryFolder(), 'out')
    const result = await convert(fixture('mamba2-hf'), to, { quantize: { bits: 8, groupSize: 64 } })
    const tensors = [...(await weightsOf(to)).values()]
    const bytes = tensors.reduce((sum, { data }) => sum + data.length, 0)
    const original = [...(await weightsOf(fixture('mamba2-hf'))).values()]
    const parameters = original.reduce((sum, { data }) => sum + data.length / 4, 0)
    const bitsPerWeight = (8 * bytes) / parameters
    expect(result).toMatchObject({ path: to, parameters, bitsPerWeight })
    expect(result.bytes).toBe((await readFile(join(to, 'model.safetensors'))).length)
  })
})

describe('what comes along', () => {
  it('is the tokenizer, templates, generation settings and licence, also through links', async () => {
    const folder = await copyOfFixture('rene')
    const elsewhere = await temporaryFolder()
    await writeFile(join(elsewhere, 'blob'), '{"a":1}')
    await symlink(join(elsewhere, 'blob'), join(folder, 'tokenizer.json'))
    const names = ['chat_template.jinja', 'generation_config.json', 'LICENSE', 'merges.txt']
    for (const name of names) await writeFile(join(folder, name), '{}')
    await mkdir(join(folder, 'additional_chat_templates'))
    await writeFile(join(folder, 'additional_chat_templates/tool.jinja'), 'x')
    await writeFile(join(folder, 'optimizer.pt'), 'x')
    const to = await convertedTo(folder)
    const found = (await readdir(to)).sort()
    expect(found).toEqual(
      [...names, 'additional_chat_templates', 'config.json', 'model.safetensors']
        .concat('tokenizer.json')
        .sort(),
    )
    expect(await readFile(join(to, 'tokenizer.json'), 'utf8')).toBe('{"a":1}')
    expect(await readdir(join(to, 'additional_chat_templates'))).toEqual(['tool.jinja'])
  })
})

describe('a conversion that does not end', () => {
  it('leaves nothing that loads, wherever it is killed', async () => {
    const [folder, left] = [await temporaryFolder(), await temporaryFolder()]
    let steps = 0
    await convert(fixture('mamba2-hf'), join(folder, 'out'), {
      onProgress() {
        // What whoever kills it now leaves.
        const names = readdirSync(folder)
        expect(names).toEqual([expect.stringMatching(/^\.out\..*\.partial$/)])
        cpSync(join(folder, names[0]!), join(left, String(steps++)), { recursive: true })
      },
    })
    expect(steps).toBe((await weightsOf(fixture('mamba2-hf'))).size)
    for (let step = 0; step < steps; step += 7) {
      const copy = join(left, String(step))
      await expect(openCheckpoint(copy)).rejects.toThrow()
      await cp(join(fixture('mamba2-hf'), 'config.json'), join(copy, 'config.json'))
      await expect(openCheckpoint(copy)).rejects.toThrow('model.safetensors')
    }
    expect(await readdir(folder)).toEqual(['out'])
  })

  it('leaves nothing when it is stopped, and says why', async () => {
    const folder = await temporaryFolder()
    const to = join(folder, 'out')
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('enough'))
    const run = convert(fixture('rene'), to, { signal: controller.signal, onProgress })
    await expect(run).rejects.toThrow('enough')
    expect(await readdir(folder)).toEqual([])
  })

  it('leaves nothing for weights that are no numbers, and names them', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rewriteTensors(folder, (tensors) => {
      const { shape, ...tensor } = tensors.get('backbone.layers.1.mixer.out_proj.weight')!
      const values = numbersOf({ shape, ...tensor }).with(70, Number.NaN)
      return tensors.set(
        'backbone.layers.1.mixer.out_proj.weight',
        rawTensor('float32', shape, values),
      )
    })
    const parent = await temporaryFolder()
    for (const quantize of [
      { bits: 4, groupSize: 32 },
      { mode: 'mxfp4' },
    ] as ConvertQuantization[]) {
      await expect(convert(folder, join(parent, 'out'), { quantize })).rejects.toMatchObject({
        code: 'ERR_CORRUPT_FILE',
        message: expect.stringContaining('backbone.layers.1.mixer.out_proj.weight holds NaN'),
      })
    }
    expect(await readdir(parent)).toEqual([])
  })
})

describe('what is refused', () => {
  const refused = async (from: string, options: object, message: string) => {
    const to = join(await temporaryFolder(), 'out')
    await expect(convert(from, to, options)).rejects.toThrow(message)
    expect(await readdir(dirname(to))).toEqual([])
  }

  it('is a folder with something in it, and a file', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'notes'), '')
    await expect(convert(fixture('rene'), folder)).rejects.toThrow(`${folder} is not empty (notes)`)
    const file = join(folder, 'notes')
    await expect(convert(fixture('rene'), file)).rejects.toThrow('is there and no folder')
    expect(await readdir(folder)).toEqual(['notes'])
  })

  it('is not an empty folder', async () => {
    const folder = await temporaryFolder()
    await convert(fixture('rene'), folder)
    expect(await readdir(folder)).toContain('config.json')
  })

  it.each(['mamba2-mlx-lm-4bit', 'edge-mlx-8bit', 'nemotron-h-moe-nvfp4'])(
    'is %s, which is quantised already',
    (name) => refused(fixture(name), {}, 'is quantised already'),
  )

  it.each([
    [{ quantise: {} }, 'did you mean "quantize"?'],
    [{ quantize: { bit: 4 } }, 'did you mean "bits"?'],
    [{ quantize: { bits: 3 } }, 'quantize.bits must be 4, 5, 6 or 8 but is 3'],
    [{ quantize: { mode: 'mxfp4', bits: 8 } }, 'quantize.bits is 8, but mxfp4 has 4'],
    [{ quantize: { groupSize: 16 } }, 'quantize.groupSize is 16, but affine has'],
    [{ quantize: { mode: 'nvfp4', groupSize: 32 } }, 'quantize.groupSize is 32, but nvfp4 has 16'],
    [{ quantize: { groupSize: 128, bits: 4 }, dtype: 'int8' }, "dtype must be 'float32'"],
  ])('is %o', (options, message) => refused(fixture('rene'), options, message))

  it('is a group size that divides no inputs', async () => {
    const folder = await temporaryFolder()
    const sizes = { hidden_size: 32, num_heads: 4, head_dim: 16, n_groups: 1, num_hidden_layers: 1 }
    await writeRandomCheckpoint(folder, { model_type: 'mamba2', vocab_size: 50, ...sizes })
    await refused(folder, { quantize: { groupSize: 128 } }, 'no matrix of')
  })
})
