// A tokenizer that cannot be used leaves a model that works on token ids and says what is wrong with it.

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { TokenizerNotFoundError } from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import { perplexity } from '../../lib/scoring/perplexity.js'
import { copyOfFixture, FIXTURES } from '../support/checkpoints.js'

const OWN = join(FIXTURES, 'tokenizer-250')

/** Writes the fixture's tokenizer.json with some of it replaced. */
async function writeChanged(folder: string, changes: object): Promise<void> {
  const json = JSON.parse(await readFile(join(OWN, 'tokenizer.json'), 'utf8'))
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...json, ...changes }))
}

const cases: [string, (folder: string) => Promise<unknown>, RegExp][] = [
  [
    'a decoder that cannot be streamed',
    (folder) => writeChanged(folder, { decoder: { type: 'CTC' } }),
    /tokenizer\.json: decoder\.type must be one of .* but is "CTC"/,
  ],
  [
    'an unknown pre-tokenizer',
    (folder) => writeChanged(folder, { pre_tokenizer: { type: 'Magic' } }),
    /tokenizer\.json: not a tokenizer that can be used/,
  ],
  [
    'a model that the library would take for another one',
    (folder) =>
      writeChanged(folder, { model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' } }),
    /tokenizer\.json: model\.type must be one of BPE, Unigram, WordPiece but is "WordLevel"/,
  ],
  [
    'a post-processor that is none',
    (folder) => writeChanged(folder, { post_processor: { type: 'Magic' } }),
    /tokenizer\.json: post_processor\.type/,
  ],
  [
    'a damaged file',
    (folder) => writeFile(join(folder, 'tokenizer.json'), '{"model": 5}'),
    /tokenizer\.json: model must be an object but is 5/,
  ],
  [
    'a Git LFS pointer',
    (folder) =>
      writeFile(join(folder, 'tokenizer.json'), 'version https://git-lfs.github.com/spec/v1\n'),
    /tokenizer\.json: must be JSON but is not: .*; it is a Git LFS pointer, .*git lfs pull/,
  ],
  [
    'a damaged tokenizer_config.json',
    async (folder) => {
      await writeChanged(folder, {})
      await writeFile(join(folder, 'tokenizer_config.json'), '[')
    },
    /tokenizer_config\.json: must be JSON but is not/,
  ],
  [
    'a folder in place of tokenizer_config.json',
    async (folder) => {
      await writeChanged(folder, {})
      await mkdir(join(folder, 'tokenizer_config.json'))
    },
    /tokenizer_config\.json: must be a file but is a folder/,
  ],
]

describe.each(cases)('%s', (_, damage, reason) => {
  it('leaves a model of token ids, which explains itself when text is asked for', async () => {
    const folder = await copyOfFixture('rene')
    await damage(folder)
    const notices: Notice[] = []
    using model = await loadModel(folder, { device: 'cpu', onNotice: (n) => notices.push(n) })
    expect(notices.map(({ code }) => code)).toEqual(['FILE_NOT_USED'])
    expect(notices[0]!.message).toMatch(reason)

    expect(model.tokenizer).toBeUndefined()
    const { tokens, text } = await model.generate([1, 2, 3], { maxTokens: 3, ignoreEos: true })
    expect(tokens).toHaveLength(3)
    expect(text).toBe('')
    for (const call of [
      () => model.generate('Hello'),
      () => model.logits('Hello'),
      () => model.generate([1], { stop: 'x' }),
      () => perplexity(model, 'Hello'),
    ]) {
      await expect(call()).rejects.toThrow(TokenizerNotFoundError)
      await expect(call()).rejects.toThrow(reason)
      await expect(call()).rejects.toThrow(/Token ids work without one/)
      await expect(call()).rejects.toHaveProperty('cause')
    }
  })
})

it('another one can be named instead; the one named must be usable', async () => {
  const folder = await copyOfFixture('rene')
  await writeChanged(folder, { decoder: null })
  using model = await loadModel(folder, { device: 'cpu', tokenizer: OWN })
  expect((await model.generate('Hello', { maxTokens: 2 })).usage.promptTokens).toBeGreaterThan(1)
  await expect(loadModel(folder, { device: 'cpu', tokenizer: folder })).rejects.toThrow(
    /tokenizer\.json: decoder must be .* but is null/,
  )
})

it('the end of text that it names still counts', async () => {
  const folder = await copyOfFixture('mamba2-state-spaces')
  await writeChanged(folder, { decoder: null })
  await writeFile(join(folder, 'tokenizer_config.json'), '{"eos_token": "q"}')
  using model = await loadModel(folder, { device: 'cpu' })
  const json = JSON.parse(await readFile(join(OWN, 'tokenizer.json'), 'utf8'))
  expect(model.endOfText).toEqual([{ id: json.model.vocab.q, sources: ['tokenizer_config.json'] }])
})
