// Folders as they are published, downloaded and copied.

import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CorruptFileError, ModelNotFoundError } from '../../lib/support/errors.js'
import { resolveTokenizerPath } from '../../lib/hub/cache.js'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { writeSafetensors } from '../../lib/weights/safetensors.js'
import { expectRefused } from '../support/bad-input.js'
import {
  copyOfFixture,
  fixture,
  rawTensor,
  readGolden,
  readRawTensors,
  temporaryFolder,
} from '../support/checkpoints.js'
import { GOLDEN_RELATIVE_L2, relativeL2 } from '../tolerance.js'

const POINTER =
  'version https://git-lfs.github.com/spec/v1\n' +
  'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n'

async function expectGolden(path: string, name: string): Promise<Notice[]> {
  const { tokens, logits } = await readGolden(name)
  const notices: Notice[] = []
  await using model = await loadModel(path, { device: 'cpu', onNotice: (n) => notices.push(n) })
  expect(relativeL2((await model.logits(tokens)).data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  return notices
}

/** A copy of a fixture with its weights in shards of these names, and nothing else of it. */
async function sharded(name: string, shards: readonly string[]): Promise<string> {
  const folder = await copyOfFixture(name)
  const file = join(folder, 'model.safetensors')
  const { tensors, metadata } = await readRawTensors(file)
  await rm(file)
  for (const [i, shard] of shards.entries()) {
    const own = [...tensors].filter((_, j) => j % shards.length === i)
    await writeSafetensors(join(folder, shard), new Map(own), metadata)
  }
  return folder
}

const names = (count: number, stem = 'model-') =>
  Array.from({ length: count }, (_, i) => `${stem}0000${i + 1}-of-0000${count}.safetensors`)

describe('shards', () => {
  it.each([
    ['model-', 3],
    ['', 2],
    ['Rene.v0.1-', 2],
  ])('without an index, named %s', async (stem, count) => {
    const folder = await sharded('rene', names(count, stem))
    expect(await expectGolden(folder, 'rene')).toEqual([])
    expect(await expectGolden(join(folder, names(count, stem)[1]!), 'rene')).toEqual([])
  })

  it('count from 0 with some writers', async () => {
    const shards = ['model-00000-of-00002.safetensors', 'model-00001-of-00002.safetensors']
    await expectGolden(await sharded('mamba2-hf', shards), 'mamba2-hf')
  })

  it("with the index of shards that are gone, or of other ones' tensors", async () => {
    const shards = names(2)
    const folder = await sharded('mamba2-mlx-lm-4bit', shards)
    const index = join(folder, 'model.safetensors.index.json')
    for (const shard of ['model-00007-of-00009.safetensors', shards[0]]) {
      const weight_map = { 'backbone.embeddings.weight': shard, 'backbone.other.weight': shard }
      await writeFile(index, JSON.stringify({ weight_map }))
      for (const path of [folder, index]) {
        const notices = await expectGolden(path, 'mamba2-mlx-lm-4bit')
        expect(notices.map(({ code }) => code)).toEqual(['INDEX_IGNORED'])
        expect(notices[0]!.message).toContain(index)
      }
    }
  })

  it('with an index that names some of them, or none', async () => {
    const shards = names(3)
    const folder = await sharded('mamba2-hf', shards)
    const { tensors } = await readRawTensors(join(folder, shards[1]!))
    const some = Object.fromEntries([...tensors.keys()].map((name) => [name, shards[1]!]))
    for (const weight_map of [some, {}]) {
      await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }))
      const notices = await expectGolden(folder, 'mamba2-hf')
      expect(notices.map(({ code }) => code)).toEqual(['INDEX_IGNORED'])
    }
  })

  it('of any name, with an index of any name', async () => {
    const shards = ['a.safetensors', 'b.safetensors']
    const folder = await sharded('rene', shards)
    const weight_map: Record<string, string> = {}
    for (const shard of shards) {
      const { tensors } = await readRawTensors(join(folder, shard))
      for (const name of tensors.keys()) weight_map[name] = shard
    }
    const index = join(folder, 'rene.safetensors.index.fp32.json')
    await writeFile(index, JSON.stringify({ weight_map }))
    for (const path of [folder, index]) expect(await expectGolden(path, 'rene')).toEqual([])
    const elsewhere = Object.fromEntries(
      Object.entries(weight_map).map(([name, shard]) => [name, `./${shard}`]),
    )
    await writeFile(index, JSON.stringify({ weight_map: elsewhere }))
    await expectRefused(folder, CorruptFileError, index, /must name a file in the same folder/)
    await writeFile(index, JSON.stringify({ weight_map }))
    await rm(join(folder, 'b.safetensors'))
    await expectRefused(folder, CorruptFileError, index, /"b.safetensors" but that file is missing/)
  })

  it('beside the hidden files that macOS leaves on disks of others', async () => {
    const folder = await sharded('rene', names(2))
    for (const name of names(2)) await writeFile(join(folder, `._${name}`), 'Mac OS X')
    expect(await expectGolden(folder, 'rene')).toEqual([])
  })

  it('of which some are missing are an error that names them', async () => {
    const folder = await sharded('rene', names(4))
    await rm(join(folder, names(4)[1]!))
    await rm(join(folder, names(4)[3]!))
    await rm(join(folder, 'golden.safetensors'))
    await expectRefused(folder, CorruptFileError, `${folder}: has 2 of 4 shards`, /missing: 2, 4/)
    await expectRefused(join(folder, names(4)[0]!), CorruptFileError, /missing: 2, 4/)
  })
})

describe('one file under another name', () => {
  it.each([
    ['rene', 'model.safetensors', 'weights.00.safetensors'],
    ['mamba2-hf', 'model.safetensors', 'consolidated.safetensors'],
    ['edge-mlx-4bit', 'model.safetensors', 'Rene-v0.1-1.3b-4bit-mlx.safetensors'],
    ['mamba2-state-spaces', 'pytorch_model.bin', 'consolidated.00.pth'],
  ])('%s', async (name, from, to) => {
    const folder = await copyOfFixture(name)
    await rename(join(folder, from), join(folder, to))
    if (to.endsWith('.pth')) await rm(join(folder, 'golden.safetensors'))
    // What trainers and adapters leave beside it.
    await writeFile(join(folder, 'optimizer.pt'), 'x')
    await writeFile(join(folder, 'training_args.bin'), 'x')
    await writeFile(join(folder, 'adapter_model.safetensors'), 'x')
    await expectGolden(folder, name)
  })

  it('beside the index of shards that were not fetched', async () => {
    const folder = await copyOfFixture('mamba2-hf')
    await rename(join(folder, 'model.safetensors'), join(folder, 'consolidated.safetensors'))
    const weight_map = { 'backbone.embeddings.weight': names(3)[0] }
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }))
    const notices = await expectGolden(folder, 'mamba2-hf')
    expect(notices.map(({ code }) => code)).toEqual(['INDEX_IGNORED'])
  })

  it('is asked for where two could be meant', async () => {
    const folder = await copyOfFixture('rene')
    const { tensors } = await readRawTensors(join(folder, 'model.safetensors'))
    await rename(join(folder, 'model.safetensors'), join(folder, 'a.safetensors'))
    await writeSafetensors(join(folder, 'b.safetensors'), tensors)
    await expectRefused(folder, ModelNotFoundError, /several models, a.safetensors, b.safetensors/)
    await expectGolden(join(folder, 'b.safetensors'), 'rene')
  })
})

describe('a Git LFS pointer', () => {
  it.each([
    ['mamba2-hf', 'model.safetensors'],
    ['mamba2-hf', 'config.json'],
    ['mamba2-state-spaces', 'pytorch_model.bin'],
  ])('in the place of %s/%s', async (name, file) => {
    const folder = await copyOfFixture(name)
    await rm(join(folder, file), { force: true })
    await writeFile(join(folder, file), POINTER)
    await expectRefused(
      folder,
      CorruptFileError,
      join(folder, file),
      `it is a Git LFS pointer, not the data: run \`git lfs install && git lfs pull\` in ${folder}`,
    )
  })

  it('in the place of a tokenizer', async () => {
    const file = join(await temporaryFolder(), 'tokenizer.json')
    await writeFile(file, POINTER)
    await expect(Tokenizer.fromFile(file)).rejects.toThrow(/Git LFS pointer.*git lfs pull/)
  })

  it('in the place of a shard, an index and a file of another name', async () => {
    const folder = await sharded('mamba2-hf', names(2))
    await writeFile(join(folder, names(2)[1]!), POINTER)
    await expectRefused(folder, CorruptFileError, names(2)[1]!, 'git lfs pull')
    const index = join(folder, 'model.safetensors.index.json')
    await rm(join(folder, names(2)[1]!))
    await writeFile(index, POINTER)
    await expectRefused(folder, CorruptFileError, index, 'git lfs pull')
    const other = await temporaryFolder()
    await writeFile(join(other, 'a.safetensors'), POINTER)
    await writeSafetensors(join(other, 'b.safetensors'), { x: rawTensor('float32', [1], [1]) })
    await expectRefused(other, CorruptFileError, join(other, 'a.safetensors'), 'git lfs pull')
  })
})

describe('a snapshot in the cache of the Hub', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567'

  /** The snapshot of a fixture, as a download makes it: links to blobs. */
  async function snapshot(name: string, files?: readonly string[]) {
    const cacheDir = await temporaryFolder()
    const repository = join(cacheDir, 'models--org--name')
    const folder = join(repository, 'snapshots', commit)
    for (const part of ['refs', 'blobs', join('snapshots', commit)]) {
      await mkdir(join(repository, part), { recursive: true })
    }
    await writeFile(join(repository, 'refs', 'main'), commit)
    const copy = await copyOfFixture(name)
    for (const file of files ?? (await readdir(copy))) {
      await rename(join(copy, file), join(repository, 'blobs', file))
      await symlink(`../../blobs/${file}`, join(folder, file))
    }
    return { cacheDir, folder, blobs: join(repository, 'blobs') }
  }
  const command = (cacheDir: string) => `ssm-metal pull org/name --cache-dir ${cacheDir}`

  it('is loaded through its links', async () => {
    const { tokens, logits } = await readGolden('rene')
    const { cacheDir } = await snapshot('rene')
    await using model = await loadModel('org/name', { cacheDir, device: 'cpu' })
    expect(relativeL2((await model.logits(tokens)).data, logits)).toBeLessThan(GOLDEN_RELATIVE_L2)
  })

  it.each(['model.safetensors', 'config.json'])('whose %s is a dangling link', async (file) => {
    const { cacheDir, blobs } = await snapshot('rene')
    await rm(join(blobs, file))
    const load = loadModel('org/name', { cacheDir })
    await expect(load).rejects.toThrow(ModelNotFoundError)
    await expect(load).rejects.toThrow(file)
    await expect(load).rejects.toThrow(command(cacheDir))
  })

  it('whose link says where it leads', async () => {
    const { cacheDir, blobs } = await snapshot('rene')
    await rm(join(blobs, 'model.safetensors'))
    await expect(loadModel('org/name', { cacheDir })).rejects.toThrow(
      /is a link to \.\.\/\.\.\/blobs\/model.safetensors, which is not there/,
    )
  })

  it('with an index whose shard is a dangling link', async () => {
    const { cacheDir, folder } = await snapshot('rene', ['config.json'])
    const [shard] = names(2)
    await symlink('../../blobs/gone', join(folder, shard!))
    const weight_map = { 'backbone.embedding.weight': shard }
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }))
    const load = loadModel('org/name', { cacheDir })
    await expect(load).rejects.toThrow(`weight_map names "${shard}" but that file is missing`)
    await expect(load).rejects.toThrow(command(cacheDir))
  })

  it('with nothing but a tokenizer', async () => {
    const { cacheDir, folder } = await snapshot('rene', [])
    await writeFile(join(folder, 'tokenizer.json'), '{}')
    const load = loadModel('org/name', { cacheDir })
    await expect(load).rejects.toThrow(ModelNotFoundError)
    await expect(load).rejects.toThrow(/found no weights; it has tokenizer.json/)
    await expect(load).rejects.toThrow(command(cacheDir))
    // Of another revision than main the command names it.
    await writeFile(join(folder, '../../refs/main'), commit.replace('0', 'f'))
    await expect(loadModel(folder)).rejects.toThrow(`ssm-metal pull org/name --revision ${commit}`)
  })

  it('whose tokenizer is a dangling link', async () => {
    const { cacheDir, folder } = await snapshot('rene', ['config.json'])
    await symlink('../../blobs/gone', join(folder, 'tokenizer.json'))
    await expect(resolveTokenizerPath('org/name', { cacheDir })).rejects.toThrow(
      /tokenizer.json is a link to ..\/..\/blobs\/gone, which is not there[\s\S]*ssm-metal pull --tokenizer-only org\/name/,
    )
  })

  it('advises nothing for a folder that is none', async () => {
    const folder = join(await temporaryFolder(), basename(fixture('rene')))
    await mkdir(folder)
    await expect(loadModel(folder)).rejects.toThrow(/found no weights$/)
  })
})
