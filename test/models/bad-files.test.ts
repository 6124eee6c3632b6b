// Files that are damaged, missing or of another kind.

import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ModelNotFoundError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import {
  type BadInput,
  config,
  describeRefused,
  expectRefused,
  weights,
} from '../support/bad-input.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { runChild } from '../support/child-process.js'
import { makePytorchCheckpoint, op, pickle } from '../support/pytorch-writer.js'

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
    says: /tensor \S+ must be float32, .* but is "F33"/,
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

describeRefused('files', FILES)

it.each([
  ['no such folder', 'nowhere/model', /no such file or folder/],
  ['a file of another kind', join(fixture('rene'), 'config.json'), /config.json/],
])('%s', async (_, path, says) => {
  await expect(loadModel(join(path))).rejects.toThrow(says)
})

it('an empty folder', async () => {
  const folder = await temporaryFolder()
  await expectRefused(folder, ModelNotFoundError, `${folder}: expected one of model.safetensors`)
})

it.each([
  // Bits of any file are flipped.
  { program: 'fuzz-models.ts', cases: '80' },
  // Values of configurations and headers are others: three times for each fixture.
  { program: 'fuzz-configs.ts', cases: '102' },
])('folders that $program damages never crash the process', async ({ program, cases }) => {
  const folder = await temporaryFolder()
  const file = new URL(`../support/${program}`, import.meta.url).pathname
  const words = [fixture('.'), folder, '2026', cases]
  const { code, signal, stdout, stderr } = await runChild(file, words)
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  expect(stdout).not.toContain('WRONG')
  // The damage does something, and not always the same.
  expect(stdout).toMatch(/^\d+ refused$/m)
  expect(stdout).toMatch(/^\d+ loaded$/m)
})
