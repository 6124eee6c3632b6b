// Damaged and hostile checkpoints: each must be an error that names the file and the part concerned,
// what was expected and what came.

import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  CorruptFileError,
  ModelNotFoundError,
  UnsupportedArchitectureError,
  UnsupportedOptionError,
} from '../../lib/errors.js'
import { loadModel } from '../../lib/model.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import { runChild } from '../support/child-process.js'
import {
  converted,
  copyOfFixture,
  fixture,
  rawTensor,
  type RawTensors,
  readRawTensors,
  rewriteConfig,
  rewriteTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { makePytorchCheckpoint, op, pickle } from '../support/pytorch-writer.js'

type ErrorClass = new (message: string) => Error
type Config = Record<string, unknown>

/** What is done to a copy of the fixture, and what must come of it. `FOLDER` stands for its path. */
interface BadInput {
  what: string
  of: string
  damage: (folder: string) => Promise<unknown>
  error?: ErrorClass
  /** In the message, besides the path of this file. */
  file: string
  says: RegExp
}

const weights = 'model.safetensors'
const config = 'config.json'

const tensorCase = (
  what: string,
  of: string,
  change: (tensors: RawTensors) => unknown,
  says: RegExp,
  error?: ErrorClass,
): BadInput => ({
  what,
  of,
  damage: (folder) =>
    rewriteTensors(folder, (tensors) => {
      change(tensors)
      return tensors
    }),
  file: weights,
  says,
  ...(error && { error }),
})

const configCase = (
  what: string,
  of: string,
  change: (config: Config) => unknown,
  says: RegExp,
  error?: ErrorClass,
): BadInput => ({
  what,
  of,
  damage: (folder) =>
    rewriteConfig(folder, (values) => {
      change(values)
      return values
    }),
  file: config,
  says,
  ...(error && { error }),
})

const set = (key: string, value: unknown) => (values: Config) => {
  const path = key.split('.')
  const inner = path.slice(0, -1).reduce((object, name) => object[name] as Config, values)
  if (value === undefined) delete inner[path.at(-1)!]
  else inner[path.at(-1)!] = value
}

/** Makes the header of a safetensors file say something else, of the same length. */
async function editHeader(folder: string, from: string, to: string): Promise<void> {
  const file = join(folder, weights)
  const bytes = await readFile(file)
  const at = bytes.indexOf(from)
  if (at < 0 || from.length !== to.length) throw new Error(`cannot edit ${from}`)
  bytes.write(to, at)
  await writeFile(file, bytes)
}

const FILES: BadInput[] = [
  {
    what: 'a weights file cut in its data',
    of: 'rene',
    damage: (folder) => truncate(join(folder, weights), 100_000),
    file: weights,
    says: /tensor ".*": data_offsets .* reach beyond the \d+ bytes of data/,
  },
  {
    what: 'a weights file cut in its header',
    of: 'rene',
    damage: (folder) => truncate(join(folder, weights), 500),
    file: weights,
    says: /header length is \d+ bytes but only 492 bytes follow/,
  },
  {
    what: 'an empty weights file',
    of: 'rene',
    damage: (folder) => truncate(join(folder, weights), 0),
    file: weights,
    says: /expected at least the 8 bytes .* but the file has 0/,
  },
  {
    what: 'a header that claims 2^60 bytes',
    of: 'rene',
    async damage(folder) {
      const bytes = await readFile(join(folder, weights))
      bytes.writeBigUInt64LE(2n ** 60n)
      await writeFile(join(folder, weights), bytes)
    },
    file: weights,
    says: /header length is 1152921504606846976 bytes but at most/,
  },
  {
    what: 'a bit flipped in the structure of the header',
    of: 'rene',
    damage: (folder) => editHeader(folder, '{"', '{#'),
    file: weights,
    says: /header/,
  },
  {
    what: 'a dtype that does not exist',
    of: 'rene',
    damage: (folder) => editHeader(folder, '"F32"', '"F33"'),
    file: weights,
    says: /dtype "F33" is none of BOOL/,
  },
  {
    what: 'overlapping tensors',
    of: 'rene',
    async damage(folder) {
      const bytes = await readFile(join(folder, weights))
      const header = bytes.toString('latin1', 8, 8 + Number(bytes.readBigUInt64LE()))
      const [, first] = /"data_offsets":\[0,(\d+)\]/.exec(header)!
      const changed = header.replace(
        `"data_offsets":[${first},`,
        `"data_offsets":[${'0'.padEnd(first!.length)},`,
      )
      bytes.write(changed, 8, 'latin1')
      await writeFile(join(folder, weights), bytes)
    },
    file: weights,
    says: /tensor ".*": data_offsets .* hold \d+ bytes but shape/,
  },
  {
    what: 'no weights',
    of: 'rene',
    damage: (folder) =>
      Promise.all([weights, 'golden.safetensors'].map((name) => rm(join(folder, name)))),
    error: ModelNotFoundError,
    file: '',
    says: /expected one of model.safetensors, .*but found no weights/,
  },
  {
    what: 'weights that are a folder',
    of: 'rene',
    async damage(folder) {
      await rm(join(folder, weights))
      await mkdir(join(folder, weights))
    },
    file: weights,
    says: /not a regular file/,
  },
  {
    what: 'a web page instead of weights',
    of: 'rene',
    damage: (folder) => writeFile(join(folder, weights), '<!DOCTYPE html><html>Not found</html>'),
    file: weights,
    says: /it is a web page/,
  },
  {
    what: 'no config.json',
    of: 'rene',
    damage: (folder) => rm(join(folder, config)),
    error: ModelNotFoundError,
    file: config,
    says: /is missing, and the weights beside it carry no configuration/,
  },
  {
    what: 'a config.json that is empty',
    of: 'rene',
    damage: (folder) => truncate(join(folder, config), 0),
    file: config,
    says: /config.json:1:1: expected a value, at the end of the text/,
  },
  {
    what: 'a config.json that is not JSON',
    of: 'rene',
    damage: (folder) => writeFile(join(folder, config), '{"d_model": 64,\n "n_layer" 8}'),
    file: config,
    says: /config.json:2:12: expected ":"/,
  },
  {
    what: 'a config.json that is a list',
    of: 'rene',
    damage: (folder) => writeFile(join(folder, config), '[1, 2]'),
    file: config,
    says: /expected a JSON object but got an array/,
  },
  {
    what: 'a config.json that is a folder',
    of: 'rene',
    async damage(folder) {
      await rm(join(folder, config))
      await mkdir(join(folder, config))
    },
    error: ModelNotFoundError,
    file: config,
    says: /is missing|not a regular file/,
  },
  {
    what: 'a config.json of many megabytes',
    of: 'rene',
    damage: (folder) => truncate(join(folder, config), 17 * 2 ** 20),
    file: config,
    says: /is 17825792 bytes, too large for a configuration/,
  },
  {
    what: 'a config.json full of brackets',
    of: 'rene',
    damage: (folder) => writeFile(join(folder, config), `{"a":${'['.repeat(100_000)}`),
    file: config,
    says: /at most 100 objects and arrays inside each other/,
  },
  {
    what: 'an index that names a missing shard',
    of: 'rene',
    async damage(folder) {
      await rm(join(folder, weights))
      const index = { weight_map: { 'backbone.embedding.weight': 'model-1-of-2.safetensors' } }
      await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index))
    },
    file: 'model.safetensors.index.json',
    says: /weight_map names "model-1-of-2.safetensors" but that file is missing/,
  },
  {
    what: 'an index that leaves the folder',
    of: 'rene',
    async damage(folder) {
      await rm(join(folder, weights))
      const index = { weight_map: { 'backbone.embedding.weight': '../model.safetensors' } }
      await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index))
    },
    file: 'model.safetensors.index.json',
    says: /must name a file in the same folder/,
  },
  {
    what: 'a damaged tokenizer',
    of: 'rene',
    damage: (folder) => writeFile(join(folder, 'tokenizer.json'), '{"model": 5}'),
    file: 'tokenizer.json',
    says: /model/,
  },
  {
    what: 'a pickle that calls something',
    of: 'mamba2-state-spaces',
    damage: (folder) =>
      writeFile(
        join(folder, 'pytorch_model.bin'),
        makePytorchCheckpoint(pickle(op.call(op.global('posix', 'system'), op.string('true')))),
      ),
    file: 'pytorch_model.bin',
    says: /posix.system/,
  },
  {
    what: 'a truncated zip archive',
    of: 'mamba2-state-spaces',
    damage: (folder) => truncate(join(folder, 'pytorch_model.bin'), 5000),
    file: 'pytorch_model.bin',
    says: /zip|directory|incomplete/,
  },
  {
    what: 'a pickle without the archive',
    of: 'mamba2-state-spaces',
    damage: (folder) => writeFile(join(folder, 'pytorch_model.bin'), pickle(op.none())),
    file: 'pytorch_model.bin',
    says: /before 1.6/,
  },
]

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
  {
    ...tensorCase(
      'no tensors at all',
      'rene',
      (all) => all.clear(),
      /backbone.embedding.weight is missing/,
    ),
  },
]

const CONFIGS: BadInput[] = [
  configCase('a missing key', 'rene', set('d_model', undefined), /d_model is missing/),
  configCase('a missing key', 'mamba2-hf', set('hidden_size', undefined), /hidden_size is missing/),
  configCase(
    'a missing key',
    'mamba2-state-spaces',
    set('n_layer', undefined),
    /n_layer is missing/,
  ),
  configCase(
    'a text for a number',
    'rene',
    set('d_model', '64'),
    /d_model must be a whole number .* but is "64"/,
  ),
  configCase('null for a number', 'rene', set('vocab_size', null), /vocab_size is null/),
  configCase('a negative size', 'rene', set('d_model', -64), /d_model .* but is -64/),
  configCase('a size of 0', 'mamba2-hf', set('head_dim', 0), /head_dim .* but is 0/),
  configCase('a fractional size', 'mamba2-hf', set('num_heads', 7.5), /num_heads .* but is 7.5/),
  configCase(
    'a huge size',
    'rene',
    set('d_model', 2 ** 40),
    /d_model must be a whole number from 1 to 16777216 but is 1099511627776/,
  ),
  configCase(
    'an infinite size',
    'mamba2-hf',
    set('state_size', { __float__: 'Infinity' }),
    /state_size .* Infinity/,
  ),
  configCase(
    'a billion layers',
    'rene',
    set('n_layer', 1e9),
    /n_layer must be a whole number from 1 to 4096 but is 1000000000/,
  ),
  configCase(
    'a billion layers',
    'mamba2-hf',
    set('num_hidden_layers', 1e9),
    /num_hidden_layers .* 1000000000/,
  ),
  configCase(
    'an object as a list',
    'rene',
    set('attn_layer_idx', {}),
    /attn_layer_idx must be a list of layer numbers but is an object/,
  ),
  configCase(
    'a layer that does not exist',
    'rene',
    set('mlp_layer_idx', [8]),
    /mlp_layer_idx must be a list of layer numbers from 0 to 7 but is 8/,
  ),
  configCase(
    'a layer that is two things',
    'rene',
    set('attn_layer_idx', [1]),
    /layer 1 stands in both attn_layer_idx and mlp_layer_idx/,
  ),
  configCase(
    'heads that do not divide the width',
    'rene',
    set('ssm_cfg.headdim', 48),
    /ssm_cfg.headdim 48 does not divide expand \* d_model, 128/,
  ),
  configCase(
    'groups that do not divide the heads',
    'rene',
    set('ssm_cfg.ngroups', 3),
    /ngroups 3 does not divide the 8 heads/,
  ),
  configCase(
    'groups that do not divide the heads',
    'mamba2-hf',
    set('n_groups', 3),
    /n_groups 3 does not divide num_heads 8/,
  ),
  configCase(
    'heads of another width',
    'mamba2-hf',
    set('num_heads', 4),
    /num_heads \* head_dim is 64 but expand \* hidden_size is 128/,
  ),
  configCase(
    'key heads that do not divide the query heads',
    'rene',
    set('attn_cfg.num_heads_kv', 3),
    /attn_cfg.num_heads_kv 3 does not divide num_heads 4/,
  ),
  configCase(
    'a head dimension of text',
    'rene',
    set('attn_cfg.head_dim', 'x'),
    /attn_cfg.head_dim .* "x"/,
  ),
  configCase(
    'no scale',
    'rene',
    set('attn_cfg.softmax_scale', -1),
    /attn_cfg.softmax_scale must be a positive number but is -1/,
  ),
  configCase(
    'an MLP of no width',
    'rene',
    set('mlp_cfg.expand', 1e-9),
    /mlp_cfg.expand 1e-9 is out of range/,
  ),
  configCase(
    'a text for an epsilon',
    'mamba2-hf',
    set('layer_norm_epsilon', 'small'),
    /layer_norm_epsilon must be a number but is "small"/,
  ),
  configCase(
    'an epsilon of 0',
    'mamba2-hf',
    set('layer_norm_epsilon', 0),
    /layer_norm_epsilon must be a number between 0 and 1 but is 0/,
  ),
  configCase(
    'limits the wrong way round',
    'mamba2-hf',
    set('time_step_limit', [1, 0]),
    /time_step_limit must be two numbers/,
  ),
  configCase(
    'a token id that is none',
    'rene',
    set('eos_token_id', -1),
    /eos_token_id must be a token id .* but is -1/,
  ),
  configCase(
    'a number for a flag',
    'rene',
    set('tie_word_embeddings', 1),
    /tie_word_embeddings must be true or false but is 1/,
  ),
  configCase(
    'a huge window',
    'rene',
    set('attn_cfg.sliding_window_length', 2 ** 24),
    /would need 4\d{9} bytes for attention over a window of 16777216 positions/,
  ),
  configCase(
    'an unknown model_type',
    'rene',
    set('model_type', 'llama'),
    /has model_type "llama". Implemented: rene, mamba2/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'neither model_type nor ssm_cfg',
    'mamba2-state-spaces',
    set('ssm_cfg', undefined),
    /neither model_type nor ssm_cfg/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'a Mamba-1',
    'mamba2-state-spaces',
    set('ssm_cfg', { d_state: 16 }),
    /is a Mamba-1/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'a Mamba-1 that says so',
    'mamba2-state-spaces',
    set('ssm_cfg.layer', 'Mamba1'),
    /is a Mamba-1/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention in state-spaces',
    'mamba2-state-spaces',
    set('attn_layer_idx', [1]),
    /has attention layers .*attn_layer_idx/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'MLPs in state-spaces',
    'mamba2-state-spaces',
    set('d_intermediate', 64),
    /MLPs .*d_intermediate/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'layer norms',
    'mamba2-state-spaces',
    set('rms_norm', false),
    /has rms_norm = false; implemented: true/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'layer norms',
    'rene',
    set('rms_norm', false),
    /has rms_norm = false; implemented: true/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'an unknown key of ssm_cfg',
    'rene',
    set('ssm_cfg.new_trick', 1),
    /has ssm_cfg.new_trick, which is not known/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'an unknown key of attn_cfg',
    'rene',
    set('attn_cfg.rotary_emb_dim', 8),
    /has attn_cfg.rotary_emb_dim, which is not known/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention that is not causal',
    'rene',
    set('attn_cfg.causal', false),
    /attn_cfg.causal = false/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'attention without a window',
    'rene',
    set('attn_cfg.sliding_window_length', null),
    /without a sliding_window_length/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'another activation',
    'mamba2-hf',
    set('hidden_act', 'relu'),
    /hidden_act = "relu"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    '3 bits',
    'mamba2-mlx-lm-4bit',
    set('quantization.bits', 3),
    /quantization.bits = 3; implemented: 4 or 8/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'groups of 16',
    'mamba2-mlx-lm-4bit',
    set('quantization.group_size', 16),
    /quantization.group_size = 16/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'another mode',
    'mamba2-mlx-lm-4bit',
    set('quantization.mode', 'mxfp4'),
    /quantization.mode = "mxfp4"/,
    UnsupportedArchitectureError,
  ),
  configCase(
    'no bits',
    'mamba2-mlx-lm-4bit',
    set('quantization.bits', undefined),
    /quantisation must state bits and group_size/,
  ),
  configCase(
    'another quantisation',
    'mamba2-hf',
    set('quantization_config', { quant_method: 'gptq' }),
    /quantization_config/,
    UnsupportedArchitectureError,
  ),
]

// What the configuration and the tensors say together.
const MISMATCHES: BadInput[] = [
  {
    ...configCase(
      'more layers than tensors',
      'mamba2-hf',
      set('num_hidden_layers', 5),
      /tensor backbone.layers.4.norm.weight is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'fewer layers than tensors',
      'mamba2-hf',
      set('num_hidden_layers', 3),
      /tensors that this model does not have: backbone.layers.3/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'another state size',
      'mamba2-hf',
      set('state_size', 17),
      /in_proj.weight must have shape \(298, 64\) but has shape \(296, 64\)/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a state size of 2^24',
      'mamba2-hf',
      set('state_size', 2 ** 24),
      /in_proj.weight must have shape/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a convolution of 2^24 taps',
      'mamba2-hf',
      set('conv_kernel', 2 ** 24),
      /conv1d.weight must have shape \(160, 1, 16777216\) or/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a bias that is not there',
      'mamba2-hf',
      set('use_bias', true),
      /in_proj.bias is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'its own head that is not there',
      'mamba2-hf',
      set('tie_word_embeddings', false),
      /lm_head.weight is missing/,
    ),
    file: weights,
  },
  {
    ...configCase(
      'a quantised matrix that should not be',
      'mamba2-mlx-lm-4bit',
      set('quantization.backbone.embeddings', false),
      /x/,
    ),
    damage: (folder) =>
      rewriteConfig(folder, (values) => {
        ;(values.quantization as Config)['backbone.embeddings'] = false
        return values
      }),
    file: weights,
    says: /backbone.embeddings.scales is there but the configuration does not quantise/,
  },
  {
    ...configCase(
      '8 bits where there are 4',
      'mamba2-mlx-lm-4bit',
      set('quantization.bits', 8),
      /backbone.embeddings.weight must have shape \(256, 16\) but has shape \(256, 8\)/,
    ),
    file: weights,
  },
]

describe.each([
  ['files', FILES],
  ['tensors', TENSORS],
  ['configurations', CONFIGS],
  ['configurations and tensors that disagree', MISMATCHES],
])('%s', (_, cases) => {
  it.each(cases)('$what ($of)', async ({ of, damage, error, file, says }) => {
    const folder = await copyOfFixture(of)
    await damage(folder)
    const load = () => loadModel(folder, { device: 'cpu' })
    await expect(load()).rejects.toThrow(error ?? CorruptFileError)
    await expect(load()).rejects.toThrow(join(folder, file))
    await expect(load()).rejects.toThrow(says)
  })
})

describe('metadata of an Edge file', () => {
  const edit = async (key: string, value: string | undefined) => {
    const folder = await copyOfFixture('edge-mlx-4bit')
    const file = join(folder, weights)
    const { tensors, metadata } = await readRawTensors(file)
    const entries = Object.entries(metadata).filter(([name]) => name !== key)
    if (value !== undefined) entries.push([key, value])
    await writeSafetensors(file, tensors, Object.fromEntries(entries))
    return file
  }
  it.each<[string, string | undefined, RegExp, ErrorClass]>([
    ['d_model', undefined, /d_model is missing/, CorruptFileError],
    ['d_model', 'sixty', /d_model:1:10: expected a value, at "sixty/, CorruptFileError],
    ['d_model', '64.5', /d_model .* 64.5/, CorruptFileError],
    ['d_model.inner', '1', /both d_model and d_model.inner/, CorruptFileError],
    ['model.n_layer_repeats', '1000000000', /n_layer_repeats .* 1000000000/, CorruptFileError],
    ['model.n_layer_repeats', '4096', /16384 layers, expected 1 to 4096/, CorruptFileError],
    ['model.unique_layers.7._class_', '"X"', /unique_layers.4 must be an object/, CorruptFileError],
    [
      'model.unique_layers.0.layer._class_',
      '"layers.S4"',
      /has a layer of class S4/,
      UnsupportedArchitectureError,
    ],
    [
      'model.unique_layers.0.layer._class_',
      '5',
      /_class_ must be a string but is 5/,
      CorruptFileError,
    ],
    [
      'model.unique_layers.0.layer.d_head',
      '48',
      /d_head 48 and n_groups 1 do not divide d_inner 128/,
      CorruptFileError,
    ],
    [
      'model.unique_layers.0.norm_point',
      '"post"',
      /norm_point = "post"/,
      UnsupportedArchitectureError,
    ],
    [
      'model.unique_layers.2.layer.activation',
      '"relu"',
      /activation = "relu"/,
      UnsupportedArchitectureError,
    ],
    ['quantization_kwargs.bits', '6', /quantization_kwargs.bits = 6/, UnsupportedArchitectureError],
    ['head.bias', 'true', /head.linear.bias is missing/, CorruptFileError],
  ])('%s = %s', async (key, value, says, error) => {
    const file = await edit(key, value)
    await expect(loadModel(file)).rejects.toThrow(error)
    await expect(loadModel(file)).rejects.toThrow(file)
    await expect(loadModel(file)).rejects.toThrow(says)
  })
})

it.each([
  ['no such folder', 'nowhere/model', /no such file or folder/],
  ['a file of another kind', join(fixture('rene'), 'config.json'), /config.json/],
])('%s', async (_, path, says) => {
  await expect(loadModel(join(path))).rejects.toThrow(says)
})

it('an empty folder', async () => {
  const folder = await temporaryFolder()
  await expect(loadModel(folder)).rejects.toThrow(ModelNotFoundError)
  await expect(loadModel(folder)).rejects.toThrow(`${folder}: expected one of model.safetensors`)
})

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

it('quantize that fits no matrix', async () => {
  const folder = await copyOfFixture('rene')
  await rewriteConfig(folder, set('n_layer', 1) as () => undefined)
  await rewriteConfig(folder, (values) => {
    Object.assign(values, { attn_layer_idx: [], mlp_layer_idx: [0], vocab_size: 256 })
    Object.assign(values, { mlp_cfg: { expand: 1, bias: false } })
    return values
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

it('whole folders with flipped bits never crash the process', async () => {
  const folder = await temporaryFolder()
  const file = new URL('../support/fuzz-models.ts', import.meta.url).pathname
  const words = [fixture('.'), folder, '2026', '80']
  const { code, signal, stdout, stderr } = await runChild(file, words)
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  expect(stdout).not.toContain('WRONG')
  // The damage does something, and not always the same.
  expect(stdout).toMatch(/^\d+ refused$/m)
  expect(stdout).toMatch(/^\d+ loaded$/m)
})
