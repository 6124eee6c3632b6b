// From the name of a model to its text: what loadModel and the command line fetch from a Hub, which files, and what
// they leave alone.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi, afterEach } from 'vitest'
import { modelFiles, tokenizerFiles } from '../../lib/hub/needed-files.js'
import type { LoadProgress } from '../../lib/index.js'
import { loadModel } from '../../lib/load-model.js'
import {
  CorruptFileError,
  ModelNotFoundError,
  TokenizerNotFoundError,
  UnsupportedArchitectureError,
} from '../../lib/support/errors.js'
import type { Notice } from '../../lib/support/notices.js'
import { FIXTURES, fixture, readGolden, temporaryFolder } from '../support/checkpoints.js'
import {
  type ChildOptions,
  ROOT,
  runChild,
  startChild,
  untilOutput,
} from '../support/child-process.js'
import { programWords } from '../support/compiled.js'
import { COMMIT, type HubRepository, type HubServer, startHub } from '../support/hub-server.js'

const CLI = join(ROOT, 'lib/cli.ts')

let cache: string
let hub: HubServer
const run = (words: string[], options?: ChildOptions) =>
  runChild(CLI, words, { env: hub.env(cache), ...options })

/** The files of a reference checkpoint, and others that nobody here needs. */
async function published(name: string, more: HubRepository['files'] = {}): Promise<HubRepository> {
  const files: HubRepository['files'] = { 'README.md': 'x', '.gitattributes': 'x', ...more }
  for (const file of await readdir(fixture(name))) {
    if (file !== 'golden.safetensors') files[file] = await readFile(join(fixture(name), file))
  }
  return { files }
}

beforeEach(async () => {
  cache = join(await temporaryFolder(), 'hub')
  const tokenizer = await readFile(join(FIXTURES, 'tokenizer-250/tokenizer.json'))
  const others = { 'pytorch_model.bin': 'x'.repeat(2000), 'onnx/model.onnx': 'x' }
  hub = await startHub({
    'org/rene': await published('rene', others),
    'allenai/OLMo-1B-hf': {
      files: {
        'tokenizer.json': tokenizer,
        'model.safetensors': 'not wanted',
        'config.json': '{}',
      },
    },
    'org/llama': {
      files: { 'config.json': '{"model_type": "llama"}', 'model.safetensors': 'x'.repeat(5000) },
    },
  })
  for (const [name, value] of Object.entries(hub.env(cache))) vi.stubEnv(name, value)
})
afterEach(() => vi.unstubAllEnvs())

const fetched = () =>
  hub
    .filesSeen()
    .map(({ path }) => path.replace(/\?.*/, '').replace(/.*\//, ''))
    .sort()

describe('modelFiles', () => {
  const small = ['config.json', 'tokenizer.json', 'chat_template.jinja']
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
  const INDEX = 'model.safetensors.index.json'
  const choose = (names: string[], file?: string, named: readonly string[] = shards) =>
    modelFiles('org/name', [...small, 'README.md', ...names], { file, shardsOf: async () => named })

  it.each<[string, string[], string[]]>([
    ['one file', ['model.safetensors', 'pytorch_model.bin'], ['model.safetensors']],
    ['not in folders', ['pytorch_model.bin', 'mlx/model.safetensors'], ['pytorch_model.bin']],
    ['shards by their index', [INDEX, ...shards, 'consolidated.safetensors'], [INDEX, ...shards]],
    ['shards without an index', shards, shards],
    ['of another name', ['Rene-4bit.safetensors'], ['Rene-4bit.safetensors']],
    ['not of a trainer', ['a.pth', 'optimizer.pt'], ['a.pth']],
    [
      'several, which their content tells apart',
      ['a.safetensors', 'b.safetensors'],
      ['a.safetensors', 'b.safetensors'],
    ],
  ])('takes %s', async (_, names, weights) => {
    expect(await choose(names)).toEqual([...small, ...weights])
  })

  it('takes what an address names', async () => {
    const names = ['model.safetensors', 'other.safetensors', ...shards, INDEX]
    expect(await choose(names, 'other.safetensors')).toEqual([...small, 'other.safetensors'])
    expect(await choose(names, shards[0])).toEqual([...small, ...shards])
    expect(await choose(names, INDEX)).toEqual([...small, INDEX, ...shards])
    await expect(choose(names, 'none.safetensors')).rejects.toThrow(/has no none.safetensors/)
  })

  it('takes what fits where an index does not', async () => {
    expect(await choose([INDEX, ...shards], undefined, ['gone.safetensors'])).toEqual([
      ...small,
      INDEX,
      ...shards,
    ])
    expect(await choose([INDEX, 'a.safetensors'])).toEqual([...small, INDEX, 'a.safetensors'])
    await expect(choose([INDEX, shards[0]!])).rejects.toThrow(CorruptFileError)
  })

  it('refuses what cannot be read here, and says what there is', async () => {
    await expect(choose(['pytorch_model-00001-of-00002.bin'])).rejects.toThrow(
      UnsupportedArchitectureError,
    )
    const none = choose(['model.gguf'])
    await expect(none).rejects.toThrow(ModelNotFoundError)
    await expect(none).rejects.toThrow(/has no weights in safetensors, .* it has .*model.gguf/)
  })

  it('takes the small files of a tokenizer', () => {
    const names = ['tokenizer.json', 'model.safetensors', 'tokenizer_config.json', 'config.json']
    expect(tokenizerFiles('org/name', names)).toEqual(['tokenizer.json', 'tokenizer_config.json'])
    expect(() => tokenizerFiles('org/name', ['vocab.json'])).toThrow(TokenizerNotFoundError)
  })
})

describe('loadModel', () => {
  it("fetches what is missing, the authors' tokenizer too, and next time nothing", async () => {
    const progress: LoadProgress[] = []
    const notices: Notice[] = []
    const load = () =>
      loadModel('org/rene', {
        device: 'cpu',
        onProgress: (part) => void progress.push(part),
        onNotice: (notice) => void notices.push(notice),
      })
    const { tokens, logits } = await readGolden('rene')
    {
      await using model = await load()
      const { data } = await model.logits(tokens)
      expect(data.length).toBe(logits.length)
      expect((await model.generate('a', { maxTokens: 2 })).tokens.length).toBe(2)
    }
    expect(fetched()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect([...new Set(progress.map(({ phase }) => phase))]).toEqual(['download', 'load'])
    expect(notices.map(({ code }) => code)).toEqual(['DOWNLOAD', 'DOWNLOAD'])
    expect(notices[0]!.message).toMatch(
      /^downloading the model org\/rene from 127.0.0.1:\d+: 76. KiB in 1 file, to .*models--org--rene$/,
    )
    hub.seen.length = 0
    await using model = await load()
    expect(hub.seen).toEqual([])
    expect(model.config.architecture).toBe('rene')
  })

  it('fetches only what is missing of a part', async () => {
    await run(['pull', 'org/rene'])
    await rm(join(cache, 'models--org--rene/snapshots', COMMIT, 'model.safetensors'))
    hub.seen.length = 0
    await using _ = await loadModel('org/rene', { device: 'cpu' })
    expect(fetched()).toEqual([])
    expect(hub.seen.length).toBe(1)
    await rm(join(cache, 'models--org--rene/blobs'), { recursive: true })
    await using __ = await loadModel('org/rene', { device: 'cpu' })
    expect(fetched()).toEqual(['config.json', 'model.safetensors'])
  })

  it.each([
    [
      'HF_HUB_OFFLINE',
      {},
      /HF_HUB_OFFLINE forbids to fetch it. This command fetches it:\n +ssm-metal pull org\/rene$/,
    ],
    ['download: false', { download: false }, /download: false \(--no-download\) forbids/],
  ])('fetches nothing with %s', async (name, options, message) => {
    if (name === 'HF_HUB_OFFLINE') vi.stubEnv(name, '1')
    const load = loadModel('org/rene', options)
    await expect(load).rejects.toThrow(ModelNotFoundError)
    await expect(load).rejects.toThrow(message)
    const other = loadModel(fixture('rene'), { ...options, tokenizer: 'org/tokenizer' })
    await expect(other).rejects.toThrow(TokenizerNotFoundError)
    await expect(other).rejects.toThrow(/ssm-metal pull --tokenizer-only org\/tokenizer/)
    expect(hub.seen).toEqual([])
  })

  it('asks nobody about a model that lies in a folder', async () => {
    await using _ = await loadModel(fixture('rene'), { device: 'cpu' })
    expect(hub.seen).toEqual([])
    await using model = await loadModel(fixture('rene'), {
      device: 'cpu',
      tokenizer: 'allenai/OLMo-1B-hf',
    })
    expect(model.tokenizer).toBeDefined()
    expect(fetched()).toEqual(['tokenizer.json'])
  })

  it('works on token ids where the tokenizer may not be read, and says so', async () => {
    hub.repositories.get('allenai/OLMo-1B-hf')!.gated = true
    const notices: string[] = []
    await using model = await loadModel('org/rene', {
      device: 'cpu',
      onNotice: ({ message }) => void notices.push(message),
    })
    expect(notices.at(-1)).toMatch(/token ids only, because its tokenizer is missing: .* is gated/)
    expect((await model.generate([1], { maxTokens: 1 })).tokens.length).toBe(1)
  })

  it('refuses other architectures before their weights arrive', async () => {
    await expect(loadModel('org/llama')).rejects.toThrow(UnsupportedArchitectureError)
    await expect(loadModel('org/llama')).rejects.toThrow(/^org\/llama\/config.json: .*"llama"/)
    expect(fetched()).toEqual(['config.json'])
  })

  it('tells who meant a path that there is none', async () => {
    const load = loadModel('models/tiny')
    await expect(load).rejects.toThrow(ModelNotFoundError)
    await expect(load).rejects.toThrow(
      /has no model models\/tiny[\s\S]*No such path either: \/.*models/,
    )
  })

  it('ends with a signal while it fetches', async () => {
    hub.rate = 1e5
    const signal = AbortSignal.timeout(300)
    await expect(loadModel('org/rene', { signal })).rejects.toThrow(/timeout/)
  })
})

describe('the command line', () => {
  it('pull, list and rm', async () => {
    const snapshot = join(cache, 'models--org--rene/snapshots', COMMIT)
    const pulled = await run(['pull', 'org/rene'])
    expect(pulled).toMatchObject({ code: 0, stdout: `${snapshot}\n` })
    const lines = pulled.stderr.trimEnd().split('\n')
    expect(lines).toEqual([
      expect.stringMatching(/^ssm-metal: downloading the model org\/rene from .*, to .*org--rene$/),
      expect.stringMatching(/^ssm-metal: downloading the tokenizer allenai\/OLMo-1B-hf from /),
      expect.stringMatching(/^ssm-metal pull: done: 77. KiB in \S+ m?s$/),
    ])
    const again = await run(['pull', 'org/rene', '--json'])
    expect(again.stderr).toBe('ssm-metal pull: everything was there\n')
    expect(JSON.parse(again.stdout)).toMatchObject({
      path: snapshot,
      tokenizerPath: expect.stringContaining('models--allenai--OLMo-1B-hf'),
    })
    // A part of another model.
    const other = join(cache, 'models--org--part/snapshots', COMMIT)
    await mkdir(other, { recursive: true })
    await writeFile(join(other, 'config.json'), '{}')

    // And one that was stopped.
    const blobs = join(cache, 'models--org--stopped/blobs')
    await mkdir(blobs, { recursive: true })
    await writeFile(join(blobs, 'x.incomplete'), Buffer.alloc(2048))

    const listed = await run(['list'])
    const rest = 'incomplete: ssm-metal pull brings the rest'
    expect(listed.stdout).toMatch(
      new RegExp(
        `^org/part@${COMMIT}  ${rest} +2 B\norg/rene +rene +76. KiB\norg/stopped +${rest} +2.00 KiB\n$`,
      ),
    )
    expect(listed.stderr).toMatch(/^3 in .*hub; 1 other entry, 77. KiB in all\n$/)
    expect(JSON.parse((await run(['list', '--json'])).stdout)).toMatchObject([
      { name: 'org/part', state: 'incomplete', family: null },
      { name: 'org/rene', state: 'complete', family: 'rene', commit: COMMIT, revision: 'main' },
      { name: 'org/stopped', state: 'incomplete', bytes: 2048, commit: null },
    ])

    const unasked = await run(['rm', 'org/rene'])
    expect(unasked.code).toBe(2)
    expect(unasked.stderr).toMatch(/org\/rene \(76. KiB\) is deleted only with --yes/)
    const removed = await run(['rm', '--yes', 'org/rene'])
    expect(removed).toMatchObject({ code: 0, stdout: '' })
    expect(removed.stderr).toMatch(/^ssm-metal rm: deleted org\/rene, 76. KiB\n$/)
    expect(existsSync(join(cache, 'models--org--rene'))).toBe(false)
    expect((await run(['rm', '--yes', 'org/rene'])).stderr).toMatch(/is not in the cache/)
  })

  it('rm keeps what another revision uses', async () => {
    const repository = hub.repositories.get('org/rene')!
    repository.branches = ['main', 'old']
    await run(['pull', 'org/rene@old'])
    repository.commit = COMMIT.replace('0', 'f')
    repository.files['config.json'] += '\n'
    await run(['pull', 'org/rene'])
    const blobs = () => readdir(join(cache, 'models--org--rene/blobs'))
    expect((await blobs()).length).toBe(3)
    expect((await run(['rm', '-y', 'org/rene@new'])).stderr).toMatch(
      /no revision new .* it has .*old/,
    )
    expect((await run(['rm', '-y', 'org/rene@old'])).stderr).toMatch(/deleted org\/rene@old, 694 B/)
    expect((await blobs()).length).toBe(2)
    expect(await readdir(join(cache, 'models--org--rene/refs'))).toEqual(['main'])
    await using model = await loadModel('org/rene', { device: 'cpu', download: false })
    expect(model.config.architecture).toBe('rene')
  })

  it('run fetches a model that is not there, and talks with it', async () => {
    const words = ['run', 'org/rene', '--chat-template', 'plain', '-n', '3', '--json']
    const first = await run(words, { input: 'Once\n' })
    expect(first.code).toBe(0)
    expect(fetched()).toContain('model.safetensors')
    const { message, tokens } = JSON.parse(first.stdout)
    expect([message, tokens.length]).toEqual(['Once', 3])
    const requests = fetched().length
    expect((await run(words, { input: 'Once\n' })).stdout).toContain(JSON.stringify(tokens))
    expect(fetched()).toHaveLength(requests)
  })

  it('pull is stopped by Control-C, and goes on', async () => {
    hub.rate = 2e5
    const child = startChild(CLI, ['pull', 'org/rene'], { env: hub.env(cache) })
    await untilOutput(child, 'stderr', /downloading the model/)
    child.process.kill('SIGINT')
    const { code, stdout, stderr } = await child.result
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
    expect(stderr).toMatch(/stopped; what has arrived is kept, and the same command goes on/)
    hub.rate = undefined
    expect((await run(['pull', 'org/rene'])).code).toBe(0)
  })

  it('says what is wrong with a call', async () => {
    for (const [words, message, code] of [
      [['pull', 'org/rene', '--resume'], /unknown option --resume/, 2],
      [['pull', fixture('rene')], /is a path, of which nothing is to be fetched/, 1],
      [['rm', './x'], /NAME must be organisation\/name/, 2],
    ] as const) {
      const result = await run([...words])
      expect(result.stderr).toMatch(message)
      expect(result.code).toBe(code)
    }
    const env = { ...hub.env(cache), HF_HUB_OFFLINE: '1' }
    expect((await run(['pull', 'org/rene'], { env })).stderr).toMatch(/HF_HUB_OFFLINE is set/)
    const generate = ['generate', '-m', 'org/none', '-p', 'x']
    const none = await run([...generate, '--no-download'])
    expect(none.stderr).toMatch(/--no-download\) forbids to fetch it/)
  })

  // A terminal as `script` makes one; that of macOS has other options.
  it.skipIf(process.platform !== 'linux')('draws a line on a terminal', async () => {
    hub.rate = 1e6
    const words = [process.execPath, ...programWords(CLI), 'pull', 'org/rene']
    const line = words.map((word) => `'${word}'`).join(' ')
    const child = spawn('script', ['-qec', line, '/dev/null'], {
      env: { ...process.env, ...hub.env(cache), TERM: 'xterm' },
    })
    let output = ''
    child.stdout.on('data', (text) => {
      output += text
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect(code).toBe(0)
    expect(output).toMatch(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal gets
      /\r\x1b\[1mdownload\x1b\[22m +\d+% {2}[\d.]+ KiB \/ 76. KiB {2}[\d.]+ .iB\/s {2}\d+\.\d s left/,
    )
    // Drawn over, and gone at the end.
    expect(output).toMatch(/\r +\rssm-metal pull: done: /)
  })
})
