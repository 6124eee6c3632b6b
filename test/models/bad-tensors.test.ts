// Tensors that are missing, superfluous, or of another shape or type; and numbers that are none.

import { expect, it } from 'vitest'
import { CorruptFileError, UnsupportedOptionError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import { type BadInput, describeRefused, tensorCase } from '../support/bad-input.js'
import {
  converted,
  copyOfFixture,
  rawTensor,
  rewriteConfig,
  rewriteTensors,
} from '../support/checkpoints.js'

const norm = 'backbone.norm_f.weight'
const TENSORS: BadInput[] = [
  tensorCase(
    'a wrong shape',
    'rene',
    (all) => all.set(norm, rawTensor('float32', [63], new Float32Array(63))),
    /tensor backbone.norm_f.weight must have shape \(64\) but has shape \(63\)/,
  ),
  tensorCase(
    'a transposed matrix',
    'mamba2-hf',
    (all) => {
      const name = 'backbone.layers.0.mixer.out_proj.weight'
      all.set(name, { ...all.get(name)!, shape: [128, 64] })
    },
    /out_proj.weight must have shape \(64, 128\) but has shape \(128, 64\)/,
  ),
  tensorCase(
    'an embedding that is too short',
    'rene',
    (all) =>
      all.set(
        'backbone.embedding.weight',
        rawTensor('float32', [250, 64], new Float32Array(16000)),
      ),
    /backbone.embedding.weight must have shape \(256, 64\) but has shape \(250, 64\)/,
  ),
  tensorCase(
    'an empty tensor',
    'rene',
    (all) => all.set(norm, rawTensor('float32', [0], [])),
    /must have shape \(64\) but has shape \(0\)/,
  ),
  tensorCase(
    'int64 for a vector',
    'rene',
    (all) => all.set(norm, converted(all.get(norm)!, 'int64')),
    /tensor backbone.norm_f.weight must be float32, .* but is int64/,
  ),
  tensorCase(
    'bool for a matrix',
    'rene',
    (all) => {
      const name = 'backbone.embedding.weight'
      all.set(name, converted(all.get(name)!, 'bool'))
    },
    /tensor backbone.embedding.weight must be float32, .* but is bool/,
  ),
  tensorCase(
    'float16 words of a quantised matrix',
    'mamba2-mlx-lm-4bit',
    (all) => {
      const name = 'backbone.embeddings.weight'
      all.set(name, rawTensor('float16', [256, 8], new Float32Array(2048)))
    },
    /tensor backbone.embeddings.weight must be uint32 but is float16/,
  ),
  tensorCase(
    'scales and biases of two types',
    'mamba2-mlx-lm-4bit',
    (all) => {
      const name = 'backbone.embeddings.biases'
      all.set(name, converted(all.get(name)!, 'float32'))
    },
    /backbone.embeddings.biases must be float16 but is float32/,
  ),
  tensorCase(
    'scales of another group size',
    'mamba2-mlx-lm-4bit',
    (all) => {
      const name = 'backbone.embeddings.scales'
      all.set(name, rawTensor('float16', [256, 2], new Float32Array(512)))
    },
    /backbone.embeddings.scales must have shape \(256, 1\) but has shape \(256, 2\)/,
  ),
  tensorCase(
    'a quantised matrix without its biases',
    'edge-mlx-4bit',
    (all) => all.delete('head.linear.biases'),
    /tensor head.linear.biases is missing/,
  ),
  tensorCase(
    'a missing tensor',
    'rene',
    (all) => all.delete(norm),
    /tensor backbone.norm_f.weight is missing/,
  ),
  tensorCase(
    'a missing layer',
    'mamba2-hf',
    (all) => {
      for (const name of all.keys()) if (name.includes('.layers.3.')) all.delete(name)
    },
    /tensor backbone.layers.3.norm.weight is missing/,
  ),
  tensorCase(
    'an extra tensor',
    'rene',
    (all) => all.set('backbone.extra.weight', all.get(norm)!),
    /1 tensors that this model does not have: backbone.extra.weight/,
  ),
  tensorCase(
    'a layer too many',
    'mamba2-hf',
    (all) => {
      for (const [name, tensor] of [...all]) {
        if (name.includes('.layers.3.')) all.set(name.replace('.3.', '.4.'), tensor)
      }
    },
    /\d+ tensors that this model does not have: backbone.layers.4/,
  ),
  tensorCase(
    'no tensors at all',
    'rene',
    (all) => all.clear(),
    /backbone.embedding.weight is missing/,
  ),
]

describeRefused('tensors', TENSORS)

it.each(['temperature', 'greedy'])('NaN in the weights ends generation (%s)', async (kind) => {
  const folder = await copyOfFixture('rene')
  await rewriteTensors(folder, (tensors) =>
    tensors.set(norm, rawTensor('float32', [64], new Float32Array(64).fill(NaN))),
  )
  using model = await loadModel(folder, { device: 'cpu' })
  const temperature = kind === 'greedy' ? 0 : 1
  await expect(model.generate([1, 2, 3], { temperature })).rejects.toThrow(
    /logit 0 is NaN: the weights or the state hold NaN or overflow/,
  )
})

it('a group size that does not divide the inputs', async () => {
  const folder = await copyOfFixture('mamba2-mlx-lm-4bit')
  await rewriteConfig(folder, (values) => ({
    ...values,
    quantization: { ...(values.quantization as object), group_size: 128 },
  }))
  const load = () => loadModel(folder, { device: 'cpu' })
  await expect(load()).rejects.toThrow(CorruptFileError)
  await expect(load()).rejects.toThrow(
    /: backbone.embeddings has 64 inputs, which group size 128 does not divide$/,
  )
})

it('quantize that fits no matrix', async () => {
  const folder = await copyOfFixture('rene')
  await rewriteConfig(folder, (values) => {
    const layers = { n_layer: 1, attn_layer_idx: [], mlp_layer_idx: [0] }
    return { ...values, ...layers, vocab_size: 256, mlp_cfg: { expand: 1, bias: false } }
  })
  await rewriteTensors(folder, (tensors) => {
    const square = rawTensor('float32', [64, 64], new Float32Array(4096))
    return new Map([
      ...['backbone.embedding.weight', norm, 'backbone.layers.0.norm.weight'].map(
        (name) => [name, tensors.get(name)!] as const,
      ),
      ['backbone.layers.0.mixer.in_proj.weight', square],
      ['backbone.layers.0.mixer.out_proj.weight', square],
    ])
  })
  const model = await loadModel(folder, { device: 'cpu' })
  model.dispose()
  const load = () => loadModel(folder, { device: 'cpu', quantize: { bits: 4, groupSize: 128 } })
  await expect(load()).rejects.toThrow(UnsupportedOptionError)
  await expect(load()).rejects.toThrow(/no matrix of .* has inputs that groupSize 128 divides/)
})
