// What a token costs: dispatches, barriers, bytes and allocations of a decode step, for each model
// family, held against what cannot be less.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import type { LoadOptions } from '../../lib/options/loading.js'
import type { Model } from '../../lib/model.js'
import { blockKind, type LayerConfig } from '../../lib/models/blocks/blocks.js'
import { fieldBytes, pagedFieldsOf } from '../../lib/models/state-fields.js'
import { convDim } from '../../lib/models/blocks/mamba2.js'
import { bytesPerElement } from '../../lib/operations/tensor.js'
import { fixture, KIND_CHECKPOINTS, temporaryFolder } from '../support/checkpoints.js'
import { PUBLISHED_SHAPES, smallConfig } from '../../scripts/bench/shapes/published.js'
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint.js'
import {
  attentionLayer,
  mamba2Layer,
  mlpLayer,
  type RandomModel,
  randomWeights,
  writeRene,
  writeStateSpaces,
} from '../support/random-checkpoint.js'
import { readTrace, type TracedDispatch } from './trace.js'

const folder = mkdtempSync(join(tmpdir(), 'budget-'))
const trace = join(folder, 'trace.jsonl')

beforeAll(() => {
  process.env.SSM_METAL_ADDON = fileURLToPath(
    new URL('build/Release/metal_device_checked.node', import.meta.url),
  )
  process.env.SSM_SOFTWARE_METAL_TRACE = trace
})
afterAll(() => rmSync(folder, { recursive: true }))

const PROMPT_TOKENS = 3
const DECODED = 2

const matvec = /^(quantized_)?matvec_/
const expertsMatmul = /^(quantized_)?experts_matmul_/
const layerNorm = /^layer_norm_/

// A projection, and what is added to it: up(down(x)).
const ADAPTED = [matvec, matvec, matvec]

/** The dispatches of a layer, in order. */
function kernelsOf(layer: LayerConfig, isQuantised: boolean): RegExp[] {
  switch (layer.kind) {
    case 'mamba2':
      return [matvec, /^mamba2_update_/, matvec]
    case 'gated_delta_net':
      // Projections of q, k and v, of the gate, and of what decides over decay and step.
      // Heads of v that no lane's values divide are normed on their own before a quantised product.
      return [
        ...[matvec, matvec, matvec, matvec, /^delta_update_/],
        ...(isQuantised && layer.valueDim % 16 !== 0 ? [/^norm_rows_/] : []),
        matvec,
      ]
    case 'short_conv':
      return [matvec, /^conv1d_update_/, matvec]
    case 'shared_transformer': {
      const projected = layer.attention.adapterRank === undefined ? [matvec] : ADAPTED
      return [
        /^concatenate_/,
        ...[...projected, ...projected, ...projected],
        ...[/^paged_attention_decode_/, /^paged_attention_join_/, matvec],
        ...[...ADAPTED, ...ADAPTED, /^mlp_activation_/, matvec, matvec],
      ]
    }
    case 'attention':
      return [matvec, /^attention_decode_/, matvec]
    case 'full_attention':
      // Projections of q, k and v, or one that is convolved; attention in parts, which are joined; out_proj.
      return [
        ...(layer.dConv === undefined ? [matvec, matvec, matvec] : [matvec, /^conv1d_update_/]),
        ...[/^paged_attention_decode_/, /^paged_attention_join_/],
        matvec,
      ]
    case 'mlp':
      // A gate projection of its own is one more; a gate of the output is made as the weight of an expert.
      return [
        ...(layer.gated ? [matvec, matvec, matvec] : [matvec, matvec]),
        ...(layer.outputGate ? [matvec, /^route_experts$/, /^mix_experts_/] : []),
      ]
    case 'experts':
      return [
        ...[matvec, /^route_experts$/, /^rms_norm_/],
        ...(layer.gated ? [expertsMatmul, expertsMatmul] : [expertsMatmul]),
        ...[expertsMatmul, /^mix_experts_/],
      ]
  }
}

const sumOf = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)

/** Bytes of weights that one token has no use for: experts that it is not sent to, and a table that is no head. */
function unusedBytes({ config }: Model): number {
  if (config.quantization !== undefined) return 0 // as if it had, which holds nothing there
  const { dModel, layers, paddedVocabSize, tieEmbeddings } = config
  const experts = layers.map((layer) => {
    if (layer.kind !== 'experts') return 0
    const matrices = layer.gated ? 3 : 2
    return 2 * (layer.numExperts - layer.numChosen) * matrices * layer.dInner * dModel
  })
  return sumOf(experts) + (tieEmbeddings ? 0 : 2 * (paddedVocabSize - 1) * dModel)
}

/**
 * Bytes that one token must read and write: weights once (of models whose head is the embedding
 * table: others need only a row of the table), state, and the rows of the rings.
 */
function leastBytes(model: Model, position: number): number {
  const { config, languageModel } = model
  const element = bytesPerElement(languageModel.activationType)
  const state = config.layers.reduce((sum, layer) => {
    if (layer.kind === 'mamba2') {
      return sum + 8 * layer.dInner * layer.dState + element * layer.dConv * convDim(layer)
    }
    if (layer.kind === 'attention') {
      const rows = Math.min(position, layer.window - 1) + 1 // all but the new one read, it written
      return sum + 2 * element * rows * layer.numKvHeads * layer.headDim
    }
    const kind = blockKind(layer.kind)
    // Windows of convolutions are read and a row of them written; other fields are read and written.
    const fields = kind.stateFields(layer, languageModel.activationType)
    const fixed = fields.map((field) => (field.name === 'conv' ? 1 : 2) * fieldBytes(field))
    const paged = pagedFieldsOf(layer, languageModel.kvType)
    return sum + sumOf(fixed) + (position + 1) * sumOf(paged.map(fieldBytes))
  }, 0)
  return model.weightBytes - unusedBytes(model) + state
}

/** Bytes of the matrices that mat-vec kernels read: each time, and once. */
function weightReads(dispatches: TracedDispatch[]): { read: number; distinct: number } {
  const buffers = dispatches
    .filter(({ kernel }) => matvec.test(kernel))
    .map(({ buffers }) => buffers.find(({ index }) => index === 1)!)
  return {
    read: sumOf(buffers.map(({ read }) => read)),
    distinct: sumOf(buffers.map(({ distinctRead }) => distinctRead)),
  }
}

// Whether in_proj has a number of rows that no block of four divides.
function hasPartOfABlock(layer: LayerConfig): boolean {
  if (layer.kind !== 'mamba2') return false
  return (layer.dInner + convDim(layer) + layer.numHeads) % 4 !== 0
}

/** Bytes that float16 products of fewer than four outputs, or of a last block of fewer, read again. */
function readAgain({ config }: Model): number {
  const rows = config.layers.map((layer) => {
    // Of what decides over decay and step.
    if (layer.kind === 'gated_delta_net') return 2 * (-layer.numHeads & 3)
    return layer.kind === 'mlp' && layer.outputGate ? 3 : 0
  })
  return 2 * config.dModel * sumOf(rows)
}

interface Row {
  model: string
  dispatches: number
  barriers: number
  bytes: number
  least: number
}
const rows: Row[] = []

/** Runs a model, holds what every model must keep to, and adds a row to the table. */
async function holdBudget(name: string, path: string, options: LoadOptions): Promise<void> {
  writeFileSync(trace, '')
  // Copies for the prompt cache would stand among what is traced.
  using model = await loadModel(path, { ...options, device: 'metal', promptCache: false })
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => i + 1)
  // The first token comes from the prefill.
  await model.generate(prompt, { maxTokens: 1 + DECODED, ignoreEos: true })
  const runs = readTrace(trace).slice(-DECODED)
  const { layers, normType, quantization } = model.config
  const hasLayerNorms = normType === 'layer'
  const keepsEmbedding = layers.some(({ kind }) => kind === 'shared_transformer')

  const expected = [
    /^resolve_rows$/,
    /^(quantized_)?embedding_/,
    ...(keepsEmbedding ? [/^(quantized_)?embedding_/] : []),
    ...layers.flatMap((layer, i) => {
      // A mixer and the MLP beside it read one norm.
      const kernels = kernelsOf(layer, quantization !== undefined)
      return hasLayerNorms && i % 2 === 0 ? [layerNorm, ...kernels] : kernels
    }),
    ...(hasLayerNorms ? [layerNorm] : []),
    matvec, // the final norm and the head
    /^sample_/,
  ]
  for (const { dispatches } of runs) {
    expect(dispatches.map(({ kernel }) => kernel)).toEqual(
      expected.map((kernel) => expect.stringMatching(kernel)),
    )
    // The first waits for nothing.
    const barriers = dispatches.filter(({ barrier }) => barrier).length
    expect(barriers).toBeLessThanOrEqual(dispatches.length - 1)
    const { read, distinct } = weightReads(dispatches)
    // A last block of rows that is not full reads its last row again.
    const again = (layers.some(hasPartOfABlock) ? 0.003 * distinct : 0) + readAgain(model)
    expect(read - distinct).toBeGreaterThanOrEqual(0)
    expect(read - distinct).toBeLessThanOrEqual(again)
  }
  // A list gets its scratch memory at its first run; from then on nothing is allocated between tokens.
  expect(new Set(runs.slice(1).map(({ allocations }) => allocations)).size).toBe(1)

  const { dispatches } = runs.at(-1)!
  const buffers = dispatches.flatMap(({ buffers }) => buffers)
  const bytes = sumOf(buffers.map((buffer) => buffer.distinctRead + buffer.distinctWritten))
  const least = leastBytes(model, PROMPT_TOKENS + DECODED - 1)
  const barriers = dispatches.filter(({ barrier }) => barrier).length
  rows.push({ model: name, dispatches: dispatches.length, barriers, bytes, least })
}

/** Models with the layers of published ones and fewer, narrower ones of them. */
const RANDOM_MODELS: { name: string; model: RandomModel; write: typeof writeRene }[] = [
  {
    name: 'mamba2',
    model: {
      dModel: 256,
      vocabSize: 1024,
      layers: [1, 2, 3].map(() => mamba2Layer({ numHeads: 8, headDim: 64, dState: 128 })),
      normEpsilon: 1e-5,
      tied: true,
    },
    write: writeStateSpaces,
  },
  {
    name: 'rene',
    model: {
      dModel: 256,
      vocabSize: 1024,
      layers: [
        mamba2Layer({ numHeads: 8, headDim: 64, dState: 128, normBeforeGate: true }),
        mlpLayer({ dInner: 1024 }),
        attentionLayer({ numHeads: 4, headDim: 64, window: 32 }),
        mlpLayer({ dInner: 1024 }),
      ],
      normEpsilon: 1e-5,
      tied: true,
    },
    write: writeRene,
  },
]

describe('a decode step', () => {
  for (const dtype of ['float32', 'float16'] as const) {
    test.each(RANDOM_MODELS)(
      `of a random $name model, ${dtype}`,
      async ({ name, model, write }) => {
        const path = await temporaryFolder()
        await write(path, model, randomWeights(model, 1))
        await holdBudget(`${name}, ${dtype}`, path, { dtype })
        const { bytes, least } = rows.at(-1)!
        expect(bytes / least).toBeLessThanOrEqual(1.1)
      },
    )
  }

  // Every family, as its authors publish it but smaller.
  test.each(Object.entries(PUBLISHED_SHAPES))('of a small %s', async (name, shape) => {
    const path = await temporaryFolder()
    // The weights of a shared block count as often as it is used: once here.
    const once = shape.config.model_type === 'zamba2' && { layers_block_type: ['mamba', 'hybrid'] }
    const config = { ...smallConfig(shape), ...(once && { ...once, num_hidden_layers: 2 }) }
    await writeRandomCheckpoint(path, config, { dtype: 'float16' })
    await holdBudget(`${name}, small`, path, { dtype: 'float16' })
    const { bytes, least } = rows.at(-1)!
    expect(bytes / least).toBeLessThanOrEqual(1.1)
  })

  test('of the model that ships in the package', async () => {
    const path = fileURLToPath(new URL('../../models/rene-tiny', import.meta.url))
    await holdBudget('rene-tiny, 4 bits', path, {})
    const { bytes, least } = rows.at(-1)!
    expect(bytes / least).toBeLessThanOrEqual(1.1)
  })

  // So small that activations weigh as much as weights: their bytes prove nothing.
  test.each(KIND_CHECKPOINTS)('of the reference checkpoint %s', (name) =>
    holdBudget(name, fixture(name), {}),
  )
})

afterAll(() => {
  const text = rows.map(({ model, dispatches, barriers, bytes, least }) =>
    [
      model.padEnd(22),
      `${dispatches}`.padStart(10),
      `${barriers}`.padStart(8),
      `${bytes}`.padStart(11),
      (bytes / least).toFixed(3).padStart(8),
    ].join(' '),
  )
  const head = 'model                  dispatches barriers bytes/token  / least'
  console.log([head, ...text].join('\n'))
})
