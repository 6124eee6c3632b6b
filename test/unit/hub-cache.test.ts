import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  CorruptFileError,
  ModelNotFoundError,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { resolveModelPath, resolveTokenizerPath } from '../../lib/hub/cache.js'
import { isHubName } from '../../lib/hub/names.js'
import { hubCacheFolder } from '../../lib/hub/snapshots.js'

const variables = [
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_HOME',
  'XDG_CACHE_HOME',
  'HOME',
] as const
const commit = '0123456789abcdef0123456789abcdef01234567'

/** As a shell writes a variable that letters follow. */
const braced = (name: string): string => `\${${name}}`

const saved = new Map<string, string | undefined>()
const savedFolder = process.cwd()
let folder = ''

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'hub-cache-')))
  for (const name of variables) {
    saved.set(name, process.env[name])
    if (name !== 'HOME') delete process.env[name]
  }
  process.env.HF_HUB_CACHE = join(folder, 'hub')
  await mkdir(join(folder, 'here'))
  process.chdir(join(folder, 'here'))
})

afterEach(async () => {
  vi.unstubAllEnvs()
  process.chdir(savedFolder)
  for (const [name, value] of saved) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  await rm(folder, { recursive: true, force: true })
})

/** Puts a snapshot into a cache as a download does. */
async function addSnapshot(name: string, reference?: string, root = join(folder, 'hub')) {
  const repository = join(root, `models--${name.replace('/', '--')}`)
  const snapshot = join(repository, 'snapshots', commit)
  await mkdir(snapshot, { recursive: true })
  await writeFile(join(snapshot, 'config.json'), '{}')
  if (reference !== undefined) {
    await mkdir(join(repository, 'refs', reference, '..'), { recursive: true })
    await writeFile(join(repository, 'refs', reference), commit)
  }
  return snapshot
}

async function messageOf(promise: Promise<string>): Promise<string> {
  return promise.then(
    (path) => expect.fail(`resolved to ${path}`),
    (error: Error) => error.message,
  )
}

describe('hubCacheFolder', () => {
  it('takes the first variable that is set, in the order of the Python client', () => {
    const order: [string, string, string][] = [
      ['HF_HUB_CACHE', '/a', '/a'],
      ['HUGGINGFACE_HUB_CACHE', '/b', '/b'],
      ['HF_HOME', '/c', '/c/hub'],
      ['XDG_CACHE_HOME', '/d', '/d/huggingface/hub'],
    ]
    for (const [name, value] of order) process.env[name] = value
    for (const [name, , expected] of order) {
      expect(hubCacheFolder()).toBe(expected)
      process.env[name] = ''
    }
    expect(hubCacheFolder()).toBe(join(homedir(), '.cache', 'huggingface', 'hub'))
    process.env.HF_HOME = '~/models'
    expect(hubCacheFolder()).toBe(join(homedir(), 'models', 'hub'))
  })

  it.each([
    ['HF_HUB_CACHE', '$DATA/x', '/data/x'],
    ['HUGGINGFACE_HUB_CACHE', `${braced('DATA')}/x`, '/data/x'],
    ['HF_HOME', `/mnt${braced('DATA')}$DATA`, '/mnt/data/data/hub'],
    ['HF_HOME', '$HOME/hf', '/home/ada/hf/hub'],
    ['HF_HOME', `~/${braced('NAME')}s`, '/home/ada/models/hub'],
    ['XDG_CACHE_HOME', `${braced('HOME')}/caches`, '/home/ada/caches/huggingface/hub'],
    // What is not set, or no variable, stays as it is, as in Python.
    ['HF_HUB_CACHE', `/a/$NOT_SET/${braced('NOT SET')}/b$`, `/a/$NOT_SET/${braced('NOT SET')}/b$`],
  ])('expands %s=%s', (name, value, expected) => {
    vi.stubEnv('DATA', '/data')
    vi.stubEnv('NAME', 'model')
    process.env.HOME = '/home/ada'
    delete process.env.HF_HUB_CACHE
    process.env[name] = value
    expect(hubCacheFolder()).toBe(expected)
  })
})

describe('isHubName', () => {
  it.each(['a/b', 'cartesia-ai/Rene-v0.1-1.3b', 'state-spaces/mamba2-130m', '_x/y_'])(
    'accepts %s',
    (name) => expect(isHubName(name)).toBe(true),
  )
  it.each([
    'gpt2',
    'a/b/c',
    '../b',
    'a/..',
    './b',
    'a/.b',
    'a/b.',
    'a/-b',
    'a/b--c',
    'a/b..c',
    'a/',
    '/b',
    'a b/c',
    'a/b\n',
    'a/b\0',
    `a/${'b'.repeat(97)}`,
  ])('refuses %j', (name) => expect(isHubName(name)).toBe(false))
})

describe('resolveModelPath', () => {
  it('gives existing paths as absolute ones, however they are written', async () => {
    const file = join(folder, 'here', 'model.safetensors')
    await writeFile(file, '')
    await mkdir(join(folder, 'here', 'models', 'tiny'), { recursive: true })
    expect(await resolveModelPath('model.safetensors')).toBe(file)
    expect(await resolveModelPath('./model.safetensors')).toBe(file)
    expect(await resolveModelPath(file)).toBe(file)
    expect(await resolveModelPath(pathToFileURL(file).href)).toBe(file)
    expect(await resolveModelPath('models/tiny')).toBe(join(folder, 'here', 'models', 'tiny'))
    process.env.HOME = folder
    expect(await resolveModelPath('~/here/models')).toBe(join(folder, 'here', 'models'))
    expect(await resolveModelPath('~')).toBe(folder)
  })

  it('finds the snapshot that a revision names', async () => {
    const snapshot = await addSnapshot('org/name', 'main')
    await addSnapshot('org/name', 'refs/pr/1')
    expect(await resolveModelPath('org/name')).toBe(snapshot)
    expect(await resolveModelPath('org/name', { revision: 'refs/pr/1' })).toBe(snapshot)
    expect(await resolveModelPath('org/name', { revision: commit })).toBe(snapshot)
  })

  it('looks in cacheDir instead if given', async () => {
    const elsewhere = join(folder, 'elsewhere')
    const snapshot = await addSnapshot('org/name', 'main', elsewhere)
    expect(await resolveModelPath('org/name', { cacheDir: elsewhere })).toBe(snapshot)
    expect(await resolveModelPath('org/name', { cacheDir: relative('.', elsewhere) })).toBe(
      snapshot,
    )
    await expect(resolveModelPath('org/name')).rejects.toThrow(ModelNotFoundError)
  })

  it('prefers a path that exists to a name in the cache', async () => {
    await addSnapshot('org/name', 'main')
    await mkdir(join(folder, 'here', 'org', 'name'), { recursive: true })
    expect(await resolveModelPath('org/name')).toBe(join(folder, 'here', 'org', 'name'))
  })

  it('names the places looked at and the command that would fetch the model', async () => {
    const error = await resolveModelPath('org/name').catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ModelNotFoundError)
    const { message } = error as Error
    expect(message).toContain('[loadModel] the model org/name (revision main) is not on')
    expect(message).toContain(join(folder, 'here', 'org', 'name'))
    expect(message).toContain(join(folder, 'hub', 'models--org--name'))
    expect(message).toMatch(/This command fetches it:\n +ssm-metal pull org\/name$/)
  })

  it('repeats revision and cache folder in the command', async () => {
    const cacheDir = join(folder, 'my cache')
    const message = await messageOf(resolveModelPath('org/name', { cacheDir, revision: 'v2' }))
    expect(message).toContain(`ssm-metal pull org/name --revision v2 --cache-dir '${cacheDir}'`)
  })

  it('says which revisions there are instead, and when a snapshot is missing', async () => {
    const snapshot = await addSnapshot('org/name')
    expect(await messageOf(resolveModelPath('org/name'))).toMatch(
      new RegExp(`refs.main \\(no such file\\)\n.*other revisions that are there: ${commit}`),
    )
    await addSnapshot('org/name', 'main')
    await rm(snapshot, { recursive: true })
    expect(await messageOf(resolveModelPath('org/name'))).toContain(`${snapshot} (no such folder)`)
  })

  it('says how far a path exists', async () => {
    await mkdir(join(folder, 'here', 'models', 'tiny'), { recursive: true })
    const message = await messageOf(resolveModelPath('./models/tony/model.safetensors'))
    expect(message).toContain(
      `no such file or folder: ${join(folder, 'here', 'models', 'tony', 'model.safetensors')}`,
    )
    expect(message).toContain(`${join(folder, 'here', 'models')} has no tony; it has tiny`)
    expect(message).not.toContain('ssm-metal pull')
    // Half of it exists, so a path may be meant; a Hub name is possible too.
    const both = await messageOf(resolveModelPath('models/tony'))
    expect(both).toContain('has no tony; it has tiny')
    expect(both).toContain('ssm-metal pull models/tony')
    await writeFile('weights.bin', '')
    expect(await messageOf(resolveModelPath('./weights.bin/x'))).toContain(
      'is a file, not a folder',
    )
  })

  it.each(['rene', 'org/na me', 'org/name--x', 'org/name\n'])(
    'refuses the name %j',
    async (name) => {
      const message = await messageOf(resolveModelPath(name))
      expect(message).toContain('must be an existing path, or a Hub name of the form')
    },
  )

  it.each([
    '../../etc/passwd',
    'a/../../b',
    '/no/such/place',
    '~/no/such/place',
    'x.gguf',
    'a/b/c',
  ])('takes %s for a path', async (name) => {
    expect(await messageOf(resolveModelPath(name))).toContain('no such file or folder: /')
  })

  it.each([
    'hf:org/name',
    'hf://org/name',
    'org/name@main',
    'hf:org/name@main',
    'https://huggingface.co/org/name',
    'https://huggingface.co/org/name/',
    'http://hf.co/org/name?library=transformers#files',
    'https://huggingface.co/org/name/tree/main',
    'HTTPS://HUGGINGFACE.CO/org/name',
    'https://hub.example:8080/org/name',
    'hf.co/org/name',
    'huggingface.co/org/name/tree/main',
  ])('understands %s', async (name) => {
    vi.stubEnv('HF_ENDPOINT', 'https://hub.example:8080')
    const snapshot = await addSnapshot('org/name', 'main')
    // Of the same name, but nobody means it who writes an address.
    await mkdir(join('hf:org', 'name'), { recursive: true })
    expect(await resolveModelPath(name)).toBe(snapshot)
  })

  it.each([
    'org/name@refs/pr/1',
    'hf:org/name@refs/pr/1',
    'https://huggingface.co/org/name/tree/refs%2Fpr%2F1',
    'https://huggingface.co/org/name/commit/refs%2Fpr%2F1',
  ])('takes the revision of %s', async (name) => {
    const snapshot = await addSnapshot('org/name', 'refs/pr/1')
    expect(await resolveModelPath(name)).toBe(snapshot)
    expect(await resolveModelPath(name, { revision: 'refs/pr/1' })).toBe(snapshot)
    await expect(resolveModelPath(name, { revision: 'main' })).rejects.toThrow(
      UnsupportedOptionError,
    )
    await rm(join(folder, 'hub'), { recursive: true })
    expect(await messageOf(resolveModelPath(name))).toMatch(
      /the model org\/name \(revision refs\/pr\/1\) is not on[\s\S]*ssm-metal pull org\/name --revision refs\/pr\/1/,
    )
  })

  it("finds what was unpacked of an Electron application's archive", async () => {
    await writeFile('app.asar', 'one file')
    const unpacked = join(folder, 'here', 'app.asar.unpacked', 'models', 'm')
    await mkdir(unpacked, { recursive: true })
    expect(await resolveModelPath('./app.asar/models/m')).toBe(unpacked)
    expect(await messageOf(resolveModelPath('./app.asar/models/other'))).toContain('app.asar')
  })

  it('finds the file of an address', async () => {
    const snapshot = await addSnapshot('org/name', 'main')
    const address = 'https://huggingface.co/org/name/resolve/main'
    expect(await resolveModelPath(`${address}/config.json?download=true`)).toBe(
      join(snapshot, 'config.json'),
    )
    const message = await messageOf(resolveModelPath(`${address}/x.safetensors`))
    expect(message).toContain(`the folder ${snapshot} has no x.safetensors; it has config.json`)
    expect(message).toContain('ssm-metal pull org/name')
  })

  it.each([
    ['https://example.com/org/name', /example.com is not the Hub/],
    ['https://huggingface.co/datasets/org/name', /the address of a model has the form/],
    ['https://huggingface.co/org', /the address of a model has the form/],
    ['https://huggingface.co/org/name/discussions/5', /tree\/revision/],
    ['https://huggingface.co/org/name/resolve/main/..%2F..%2Fx', /tree\/revision/],
    ['https://huggingface.co/org/name/tree/..%2Fx', /tree\/revision/],
    ['https://huggingface.co/..%2F..%2Fetc/name', /the address of a model has the form/],
    ['https://', /it is no address/],
    ['hf:gpt2', /a Hub name has the form organisation\/name/],
    ['hf:org/name@../x', /the revision must be a branch/],
  ])('says what is wrong with %s', async (name, message) => {
    await addSnapshot('org/name', 'main')
    const resolved = resolveModelPath(name)
    await expect(resolved).rejects.toThrow(ModelNotFoundError)
    await expect(resolved).rejects.toThrow(message)
  })

  it('says of a bare word what was tried, and what may be meant', async () => {
    const cache = join(folder, 'hub')
    const nothing = await messageOf(resolveModelPath('mamba2'))
    expect(nothing).toContain(`${join(folder, 'here', 'mamba2')} (the folder`)
    expect(nothing).toContain(`${cache} (has no model with that in its name)`)
    await addSnapshot('state-spaces/Mamba2-130m', 'main')
    expect(await messageOf(resolveModelPath('mamba2'))).toContain(
      `${cache} (has state-spaces/Mamba2-130m: write the whole name)`,
    )
  })

  it('refuses a revision of a path', async () => {
    await expect(resolveModelPath('.', { revision: 'v2' })).rejects.toThrow(
      /revision: .* is a path, which has no revisions/,
    )
  })

  it('never leaves the cache by way of a revision or a reference', async () => {
    const snapshot = await addSnapshot('org/name', 'main')
    for (const revision of ['..', '../main', 'a/../b', '/main', 'a//b', '', 'a\0b']) {
      await expect(resolveModelPath('org/name', { revision })).rejects.toThrow(RangeError)
    }
    const reference = join(snapshot, '..', '..', 'refs', 'main')
    for (const content of ['../../../..', '', commit.slice(1), `${commit}/../x`, 'x'.repeat(999)]) {
      await writeFile(reference, content)
      await expect(resolveModelPath('org/name')).rejects.toThrow(CorruptFileError)
    }
    await writeFile(reference, `${commit}\n`)
    expect(await resolveModelPath('org/name')).toBe(snapshot)
  })

  it('refuses a revision of a path, which has none', async () => {
    const path = await mkdtemp(join(folder, 'model-'))
    const call = resolveModelPath(path, { revision: 'main' })
    await expect(call).rejects.toThrow(UnsupportedOptionError)
    await expect(call).rejects.toThrow('is a path, which has no revisions')
    expect(await resolveModelPath(path)).toBe(path)
  })

  it('refuses an empty name', async () => {
    await expect(resolveModelPath('')).rejects.toThrow(TypeError)
  })
})

describe('resolveTokenizerPath', () => {
  it('gives tokenizer.json for the file, its folder, and a Hub name', async () => {
    const snapshot = await addSnapshot('org/name', 'main')
    const file = join(snapshot, 'tokenizer.json')
    await writeFile(file, '{}')
    expect(await resolveTokenizerPath('org/name')).toBe(file)
    expect(await resolveTokenizerPath(snapshot)).toBe(file)
    expect(await resolveTokenizerPath(file)).toBe(file)
  })

  it('names the command that fetches the tokenizer only', async () => {
    const missing = resolveTokenizerPath('EleutherAI/gpt-neox-20b')
    await expect(missing).rejects.toThrow(TokenizerNotFoundError)
    expect(await messageOf(missing)).toContain(
      'ssm-metal pull --tokenizer-only EleutherAI/gpt-neox-20b',
    )
  })

  it('says so when the folder has no tokenizer.json', async () => {
    const snapshot = await addSnapshot('org/name', 'main')
    const message = await messageOf(resolveTokenizerPath('org/name'))
    expect(message).toContain(`the folder ${snapshot} has no tokenizer.json; it has config.json`)
    expect(message).toContain('ssm-metal pull --tokenizer-only org/name')
    expect(await messageOf(resolveTokenizerPath('.'))).not.toContain('ssm-metal pull')
  })
})
