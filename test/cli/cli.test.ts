// The command line as its users see it: what stands on standard output, what on standard error, and
// the exit code.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel } from '../../lib/load-model.js'
import type { GenerateOptions, Model } from '../../lib/index.js'
import { VERSION } from '../../lib/support/version.js'
import { type ChildOptions, runChild, startChild, untilOutput } from '../support/child-process.js'
import { copyOfFixture, FIXTURES, fixture, temporaryFolder } from '../support/checkpoints.js'

const CLI = new URL('../../lib/cli.ts', import.meta.url).pathname
const RENE = ['-m', fixture('rene'), '--tokenizer', join(FIXTURES, 'tokenizer-250')]
// The fixture never says its end of text; this runs until it is stopped.
const ENDLESS = ['-n', '100000000', '--ignore-eos']

/** Resolves when a command that was just started must have begun its work: by what another one takes now. */
async function started(): Promise<void> {
  const begin = performance.now()
  await run(['info'])
  const delay = 1500 + 2 * (performance.now() - begin)
  await new Promise((resolve) => setTimeout(resolve, delay))
}
const run = (words: string[], options?: ChildOptions) => runChild(CLI, words, options)

let model: Model

beforeAll(async () => {
  model = await loadModel(fixture('rene'), {
    device: 'cpu',
    tokenizer: join(FIXTURES, 'tokenizer-250'),
  })
})
afterAll(() => model.dispose())

describe('generate', () => {
  it('writes the text and a line feed to standard output, and nothing else anywhere', async () => {
    const options = { maxTokens: 12, temperature: 4, seed: 5 }
    const expected = await model.generate('Once upon', options)
    const words = ['-p', 'Once upon', '-n', '12', '--temp', '4', '--seed', '5', '--device', 'cpu']
    const result = await run(['generate', ...RENE, ...words])
    expect(result).toEqual({ code: 0, signal: null, stdout: `${expected.text}\n`, stderr: '' })
  })

  it("has the defaults of the model's generation_config.json, unless told otherwise", async () => {
    const folder = await copyOfFixture('rene')
    const file = { do_sample: true, temperature: 4, top_k: 30 }
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify(file))
    const words = [
      'generate',
      '-m',
      folder,
      ...RENE.slice(2),
      '-p',
      'Once',
      '-n',
      '12',
      '--seed',
      '5',
    ]
    const said = async (...more: string[]) => (await run([...words, ...more])).stdout
    const expected = async (options: GenerateOptions) =>
      `${(await model.generate('Once', { maxTokens: 12, seed: 5, ...options })).text}\n`
    const defaults = { temperature: 4, topK: 30 }
    expect(await said()).toBe(await expected(defaults))
    expect(await said('--top-k', '2')).toBe(await expected({ ...defaults, topK: 2 }))
    expect(await said('--no-generation-config')).toBe(await expected({}))
    expect(await said('--temp', '0')).toBe(await expected({}))
    expect(await expected(defaults)).not.toBe(await expected({}))
  })

  it('--json prints one object', async () => {
    const options = { maxTokens: 6, topK: 5, temperature: 3, seed: 1 }
    const expected = await model.generate('the state', options)
    const words = ['-p', 'the state', '-n', '6', '--top-k', '5', '--temp', '3', '--seed', '1']
    const { code, stdout, stderr } = await run(['generate', ...RENE, ...words, '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.endsWith('}\n')).toBe(true)
    const { prompt, text, tokens, usage, finishReason } = JSON.parse(stdout)
    expect(prompt).toBe('the state')
    expect({ text, tokens }).toEqual({ text: expected.text, tokens: expected.tokens })
    expect(usage.totalTokens).toBe(expected.usage.totalTokens)
    expect(finishReason).toBe('length')
  })

  it('-p - reads the prompt from standard input', async () => {
    const input = 'Once\nupon a 日 time\n'
    const expected = await model.generate(input, { maxTokens: 8 })
    const { code, stdout } = await run(['generate', ...RENE, '-p', '-', '-n', '8', '--json'], {
      input,
    })
    expect(code).toBe(0)
    expect(JSON.parse(stdout).prompt).toBe(input)
    expect(JSON.parse(stdout).tokens).toEqual(expected.tokens)
  })

  it('--stop ends the text, which is not printed', async () => {
    const { text } = await model.generate('Once upon', { maxTokens: 30, temperature: 4, seed: 8 })
    const stop = text.slice(4, 7)
    const words = ['-p', 'Once upon', '-n', '30', '--temp', '4', '--seed', '8', '--stop', stop]
    const result = await run(['generate', ...RENE, ...words])
    expect(result.stdout).toBe(`${text.slice(0, text.indexOf(stop))}\n`)
    expect(result.code).toBe(0)
  })

  it('--no-parse-special takes special tokens in the prompt as text', async () => {
    const prompt = 'Once<|endoftext|>upon'
    const tokens = (parseSpecial: boolean) => model.encode(prompt, { parseSpecial }).length
    expect(tokens(false)).toBeGreaterThan(tokens(true) + 5)
    for (const [flag, expected] of [
      [[], tokens(true)],
      [['--no-parse-special'], tokens(false)],
    ] as const) {
      const words = ['-p', prompt, '-n', '1', '--ignore-eos', '--json', ...flag]
      const { code, stdout } = await run(['generate', ...RENE, ...words])
      expect(code).toBe(0)
      expect(JSON.parse(stdout).usage.promptTokens).toBe(expected)
    }
  })

  it('--verbose reports on standard error', async () => {
    const { code, stdout, stderr } = await run([
      'generate',
      ...RENE,
      '-p',
      'Once',
      '-n',
      '3',
      '--verbose',
      '--q-bits',
      '8',
      '--threads',
      '1',
    ])
    expect(code).toBe(0)
    expect(stdout).not.toContain('tokens-per-sec')
    expect(stderr).toMatch(/Prompt: \d+ tokens, [\d.]+ tokens-per-sec/)
    expect(stderr).toMatch(/Generation: 3 tokens, [\d.]+ tokens-per-sec \(length\)/)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('%s ends a long generation with 130', async (signal) => {
    const child = startChild(CLI, ['generate', ...RENE, '-p', 'Once', ...ENDLESS])
    await untilOutput(child, 'stdout', /./)
    child.process.kill(signal)
    const { code, stdout, stderr, signal: endedBy } = await child.result
    expect({ code, endedBy, stderr }).toEqual({ code: 130, endedBy: null, stderr: '' })
    expect(stdout.endsWith('\n')).toBe(true)
  })

  it('SIGINT ends it while it waits for a prompt', async () => {
    const child = startChild(CLI, ['generate', ...RENE, '-p', '-'], { holdInput: true })
    await started() // nothing tells from outside that it waits
    child.process.kill('SIGINT')
    const { code, stderr, signal } = await child.result
    expect({ code, signal, stderr }).toEqual({ code: 130, signal: null, stderr: '' })
  })

  it.runIf(existsSync('/dev/full'))('a full disk is one line, not a stack', async () => {
    const words = [process.execPath, '--import', 'tsx', CLI, 'info']
    const { status, stderr } = spawnSync('sh', ['-c', `${words.join(' ')} > /dev/full`], {
      cwd: join(FIXTURES, '../..'),
      encoding: 'utf8',
    })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^ssm-metal: cannot write the output: ENOSPC.*\n$/)
  })

  it('SIGINT with --json still prints what there is', { retry: 2 }, async () => {
    const words = ['generate', ...RENE, '-p', 'Once', ...ENDLESS, '--json']
    const child = startChild(CLI, words)
    await started() // nothing is printed before the end
    child.process.kill('SIGINT')
    const { code, stdout } = await child.result
    expect(code).toBe(130)
    expect(JSON.parse(stdout).finishReason).toBe('abort')
    expect(JSON.parse(stdout).tokens.length).toBeGreaterThan(0)
  })

  it('ends quietly when its reader goes away', async () => {
    const child = startChild(CLI, ['generate', ...RENE, '-p', 'Once', ...ENDLESS])
    await untilOutput(child, 'stdout', /./)
    child.process.stdout!.destroy()
    const { code, signal, stderr } = await child.result
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  })
})

describe('generate --json-schema and --regex', () => {
  const words = ['generate', ...RENE, '-p', 'Once', '-n', '40']

  it('write what keeps to them', async () => {
    const file = join(await temporaryFolder(), 'schema.json')
    await writeFile(file, JSON.stringify({ enum: ['one', 2] }, null, 2))
    const value = await run([...words, '--json-schema', file])
    expect(value).toMatchObject({ code: 0, stderr: '' })
    expect(['one', 2]).toContain(JSON.parse(value.stdout))
    const matched = await run([...words, '--regex', '[ab]{3}c'])
    expect(matched).toMatchObject({ code: 0, stderr: '' })
    expect(matched.stdout).toMatch(/^[ab]{3}c\n$/)
  })

  it('are refused where they are wrong, before any text', async () => {
    const file = join(await temporaryFolder(), 'schema.json')
    await writeFile(file, '{ "type": ')
    for (const [format, code, message] of [
      [['--json-schema', file], 1, 'is no JSON'],
      [['--json-schema', `${file}.missing`], 1, 'there is no file'],
      [['--json-schema', file, '--regex', 'a'], 2, 'not both'],
      [['--regex', 'a(?=b)'], 1, 'responseFormat.pattern'],
    ] as const) {
      const result = await run([...words, ...format])
      expect(result).toMatchObject({ code, stdout: '' })
      expect(result.stderr).toContain(message)
    }
  })
})

describe('generate --session', () => {
  const words = (file: string, prompt: string) => [
    'generate',
    ...RENE,
    '--session',
    file,
    '-p',
    prompt,
  ]
  const few = ['-n', '4', '--ignore-eos']

  it('starts a session, goes on from it and saves it', async () => {
    const file = join(await temporaryFolder(), 'a.session')
    using session = model.createSession()
    for (const prompt of ['the state', ' of a']) {
      const { text } = await session.generate(prompt, { maxTokens: 4, ignoreEos: true })
      const result = await run([...words(file, prompt), ...few])
      expect(result).toEqual({ code: 0, signal: null, stdout: `${text}\n`, stderr: '' })
    }
    using loaded = await model.loadSession(file)
    expect(loaded.consumed).toEqual(session.consumed)
  })

  it.each(['SIGINT', 'a closed output'])('saves what there is after %s', async (end) => {
    const file = join(await temporaryFolder(), 'a.session')
    const child = startChild(CLI, [...words(file, 'the state'), ...ENDLESS])
    await untilOutput(child, 'stdout', /./)
    if (end === 'SIGINT') child.process.kill('SIGINT')
    else child.process.stdout!.destroy()
    const { code, stderr } = await child.result
    expect({ code, stderr }).toEqual({ code: end === 'SIGINT' ? 130 : 0, stderr: '' })
    using loaded = await model.loadSession(file)
    expect(loaded.position).toBeGreaterThan(model.encode('the state').length)
  })

  it('refuses what it cannot go on from or save, before any text', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'text'), 'no session at all')
    using other = await loadModel(fixture('mamba2-hf'), { device: 'cpu' })
    using session = other.createSession()
    await session.save(join(folder, 'other'))
    for (const [file, message] of [
      [join(folder, 'text'), /^ssm-metal generate: .*text: no session file, or a damaged one/],
      [join(folder, 'other'), /^ssm-metal generate: .*other: a session of another model/],
      [folder, /^ssm-metal generate: .*: not a regular file/],
      [
        join(folder, 'none', 'a'),
        /^ssm-metal generate: --session .*: no file can be written in .*none/,
      ],
      ['', /^ssm-metal generate: \[loadSession\] the path must be a text/],
    ] as const) {
      const { code, stdout, stderr } = await run([...words(file, 'x'), ...few])
      expect(stderr).toMatch(message)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    }
  })
})

describe('exit code 1 with one message', () => {
  it.each<[string, string[], RegExp]>([
    [
      'a model that is not there',
      ['generate', '-m', './nowhere/model', '-p', 'x'],
      /^ssm-metal generate: \[loadModel\] no such file or folder: .*nowhere.model/,
    ],
    [
      'a Hub name that is not in the cache',
      ['generate', '-m', 'state-spaces/mamba2-130m', '-p', 'x'],
      /HF_HUB_OFFLINE forbids to fetch it. This command fetches it:\n +ssm-metal pull state-spaces\/mamba2-130m/,
    ],
    [
      'a model without a tokenizer',
      ['generate', '-m', fixture('rene'), '-p', 'x'],
      /allenai\/OLMo-1B-hf/,
    ],
    [
      'an option that changes nothing',
      ['generate', ...RENE, '-p', 'x', '--top-k', '5'],
      /topK changes nothing without a temperature above 0 \(--temp\)/,
    ],
    ['an empty prompt', ['generate', ...RENE, '-p', ''], /the prompt is empty/],
    [
      'a device that is not here',
      ['generate', ...RENE, '-p', 'x', '--device', 'metal'],
      /device 'metal' needs a Mac with Apple silicon/,
    ],
    ['show without a model there', ['show', '/nowhere'], /^ssm-metal show: .*\/nowhere/],
    ['tune without a GPU', ['tune'], /^ssm-metal tune: .*nothing to tune.* computes on the CPU/],
  ])('%s', async (_, words, message) => {
    const env = { HF_HUB_CACHE: await temporaryFolder() }
    const { code, stdout, stderr } = await run(words, { env })
    expect(stderr).toMatch(message)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    // A message, not a stack.
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('a damaged model', async () => {
    const folder = await copyOfFixture('rene')
    await truncate(join(folder, 'model.safetensors'), 1000)
    const { code, stdout, stderr } = await run(['show', folder])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(join(folder, 'model.safetensors'))
  })
})

describe('exit code 2 for a wrong call', () => {
  it.each<[string, string[], RegExp]>([
    ['no verb', [], /Usage/i],
    ['an unknown verb', ['generat'], /unknown command "generat"; did you mean generate\?/],
    ['no prompt', ['generate', ...RENE], /no prompt given/],
    ['a misspelt option', ['generate', ...RENE, '-p', 'x', '--tmp', '1'], /--tmp.*--temp/],
    [
      'a value that is no number',
      ['generate', ...RENE, '-p', 'x', '-n', 'many'],
      /-n|--max-tokens/,
    ],
    [
      'groups without bits',
      ['generate', ...RENE, '-p', 'x', '--q-group-size', '64'],
      /needs --q-bits/,
    ],
    ['show without a model', ['show'], /MODEL/],
    ['tune on the CPU', ['tune', '--device', 'cpu'], /--device must be auto or metal/],
    ['tune by what has no choices', ['tune', '--operation', 'add'], /--operation must be matmul/],
    ['tune that measures and forgets', ['tune', '--reset', '--quick'], /--reset measures nothing/],
  ])('%s', async (_, words, message) => {
    const { code, stdout, stderr } = await run(words)
    expect(stderr).toMatch(message)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })
})

describe('show', () => {
  it('describes every reference checkpoint', async () => {
    const names = (await readdir(fixture('.'))).filter((name) => !/^ops$|README/.test(name))
    expect(names.length).toBeGreaterThan(6)
    const shown = names.map(async (name) => ({
      name,
      ...(await run(['show', fixture(name), '--json'])),
    }))
    for (const { name, code, stdout, stderr } of await Promise.all(shown)) {
      // A language model inside another one: the rest is skipped, and that is said.
      const skipped = name === 'qwen3-5-vl' ? /skipped 21 tensors of modules .*\n$/ : /^$/
      expect({ name, code, stderr }).toEqual({
        name,
        code: 0,
        stderr: expect.stringMatching(skipped),
      })
      const facts = JSON.parse(stdout)
      using loaded = await loadModel(fixture(name), { device: 'cpu' })
      expect(facts.stateBytes).toBe(loaded.stateBytes)
      expect(facts.architecture).toBe(loaded.architecture)
      expect(facts.layers).toHaveLength(loaded.config.layers.length)
      expect(facts.weightBytes).toBeGreaterThan(0)
      expect(facts.memory.device).toBe('cpu')
      expect(facts.memory.totalBytes).toBeGreaterThan(facts.stateBytes)
      expect(facts.parameters).toBeGreaterThan(50_000)
      expect(Number.isInteger(facts.parameters)).toBe(true)
    }
  })

  it('counts the parameters of a quantised model as those of the float model', async () => {
    const count = async (name: string) =>
      JSON.parse((await run(['show', fixture(name), '--json'])).stdout).parameters
    expect(await count('mamba2-mlx-lm-4bit')).toBe(await count('mamba2-hf'))
  })

  it('as a table', async () => {
    const { code, stdout, stderr } = await run(['show', fixture('rene')])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const line of [
      /^architecture +rene \(rene\)$/m,
      /^layers +8: mamba2, mlp, mamba2, attention, mlp, mamba2, attention, mlp$/m,
      /^vocabulary +250, padded to 256$/m,
      /^head +tied to the embedding$/m,
      /^state +.* a sequence, whatever its length$/m,
      /^memory needed +1\.\d\d MiB on cpu: weights \d+ KiB, state .*, workspace .*; 7\d\d KiB of weights stay in their file$/m,
      /^tokenizer +allenai\/OLMo-1B-hf$/m,
      /^end of text +0 \(config\.json\)$/m,
      /^chat template +none: a base model$/m,
    ]) {
      expect(stdout).toMatch(line)
    }
  })

  it('tells each end of text with what names it', async () => {
    const folder = await copyOfFixture('rene')
    await cp(join(FIXTURES, 'tokenizer-250'), folder, { recursive: true })
    await writeFile(join(folder, 'generation_config.json'), '{"eos_token_id": [7, 0]}')
    await writeFile(join(folder, 'special_tokens_map.json'), '{"eos_token": "<|endoftext|>"}')
    const { stdout } = await run(['show', folder])
    expect(stdout).toMatch(
      /^end of text +0 "<\|endoftext\|>" \(config\.json, generation_config\.json, .*special_tokens_map\.json\)$/m,
    )
    expect(stdout).toMatch(/^prompt cache +up to \d.* by default, \d.* KiB a prompt or turn$/m)
    expect(stdout).toMatch(/^end of text +7 ".+" \(generation_config\.json\)$/m)
    const { endOfText } = JSON.parse((await run(['show', folder, '--json'])).stdout)
    expect(endOfText).toContainEqual({
      id: 7,
      text: expect.any(String),
      sources: ['generation_config.json'],
    })
  })

  it('tells how tokens are drawn by default, and what says so', async () => {
    const folder = await copyOfFixture('rene')
    const shown = async (config: object) => {
      await writeFile(join(folder, 'generation_config.json'), JSON.stringify(config))
      const { stdout } = await run(['show', folder])
      return /^sampling +(.*)$/m.exec(stdout)![1]
    }
    expect(await shown({ temperature: 0.5 })).toBe('greedy')
    expect(await shown({ repetition_penalty: 1.2 })).toBe(
      'greedy, --repeat-penalty 1.2 (generation_config.json)',
    )
    expect(await shown({ do_sample: true, temperature: 0.5, top_p: 0.9, min_p: 0.1 })).toBe(
      '--temp 0.5 --top-k 50 --top-p 0.9 --min-p 0.1 (generation_config.json)',
    )
    const { generationDefaults } = JSON.parse((await run(['show', folder, '--json'])).stdout)
    expect(generationDefaults).toEqual({ temperature: 0.5, topK: 50, topP: 0.9, minP: 0.1 })
  })

  it('tells which file has the chat template', async () => {
    const folder = await copyOfFixture('rene')
    await writeFile(join(folder, 'chat_template.jinja'), '{{ messages }}')
    expect((await run(['show', folder])).stdout).toMatch(/^chat template +chat_template\.jinja$/m)
    const { chatTemplate } = JSON.parse((await run(['show', folder, '--json'])).stdout)
    expect(chatTemplate).toBe(join(folder, 'chat_template.jinja'))
  })

  it('says why a tokenizer cannot be used', async () => {
    const folder = await copyOfFixture('rene')
    await writeFile(join(folder, 'tokenizer.json'), 'version https://git-lfs.github.com/spec/v1')
    const { code, stdout } = await run(['show', folder])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^tokenizer +cannot be used: .*tokenizer\.json: .* Git LFS pointer/m)
    const asked = await run(['generate', '-m', folder, '-p', 'x'])
    expect(asked.code).toBe(1)
    expect(asked.stderr).toMatch(/tokenizer cannot be used: .* Git LFS pointer/)
  })
})

describe('verify', () => {
  const few = ['verify', '--device', 'cpu', '--operation', 'add', '--operation', 'rms_norm']

  it('prints a row for each case and what it comes to', async () => {
    const { code, stdout, stderr } = await run(few)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^operation +dtype +shape +error +limit +time +GB\/s$/)
    for (const line of lines.slice(1, -2)) {
      expect(line).toMatch(/^(add|rms_norm) +float32 +\d+ x \d+ +\S+ +\S+ +[\d.]+ [µm]?s +[\d.]+$/)
    }
    const rows = lines.length - 3
    expect(rows).toBeGreaterThan(3)
    expect(lines.at(-1)).toBe(
      `cpu device against the plain loops of the CPU device: ${rows} of ${rows} within their limits`,
    )
  })

  it('--json prints one object a line; --failures leaves out what is right', async () => {
    const { stdout } = await run([...few, '--json'])
    for (const line of stdout.trimEnd().split('\n')) {
      expect(JSON.parse(line)).toMatchObject({ dtype: 'float32', passed: true })
    }
    const failures = await run([...few, '--failures'])
    expect(failures.stdout.split('\n')).toHaveLength(4)
  })

  it('an operation that does not exist is a mistake in the call', async () => {
    const { code, stderr } = await run(['verify', '--operation', 'rms-norm'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/rms_norm/)
  })
})

describe('tune', () => {
  it('--reset removes what was saved', async () => {
    const env = { XDG_CACHE_HOME: await temporaryFolder() }
    const path = join(env.XDG_CACHE_HOME, 'ssm-metal/tuning.json')
    const nothing = await run(['tune', '--reset'], { env })
    expect(nothing).toMatchObject({ code: 0, stdout: `nothing was saved in ${path}\n`, stderr: '' })
    await mkdir(dirname(path))
    await writeFile(path, 'anything')
    const { code, stdout } = await run(['tune', '--reset', '--json'], { env })
    expect({ code, ...JSON.parse(stdout) }).toEqual({ code: 0, path, removed: true })
    expect(existsSync(path)).toBe(false)
  })
})

describe('info', () => {
  it('as a table and as JSON', async () => {
    const table = await run(['info'])
    expect({ code: table.code, stderr: table.stderr }).toEqual({ code: 0, stderr: '' })
    expect(table.stdout).toMatch(/^device +cpu, \d+ threads, (reference|avx2|avx512|neon)$/m)
    const { code, stdout } = await run(['info', '--json', '--device', 'cpu'])
    expect(code).toBe(0)
    const facts = JSON.parse(stdout)
    expect(facts.version).toBe(VERSION)
    expect(facts.device).toBe('cpu')
    expect(facts.threads).toBeGreaterThan(0)
    expect(facts.promptCacheBytes).toBeGreaterThan(0)
    expect(facts.promptCacheBytes).toBeLessThan(facts.memoryBytes / 8)
    expect(table.stdout).toMatch(/^ +a model's prompt cache takes up to \d.* now/m)
    expect(table.stdout).toContain(`threads, ${facts.cpuLevel}\n`)
    expect(facts.node).toBe(process.versions.node)
  })
})

describe('help', () => {
  it.each([
    [['--help'], /generate[\s\S]*show[\s\S]*info/],
    [['generate', '--help'], /--max-tokens[\s\S]*--temp[\s\S]*--seed[\s\S]*--json/],
    [['help', 'generate'], /--max-tokens/],
    [['chat', '--help'], /--system[\s\S]*--session[\s\S]*--max-tokens/],
    [['run', '--help'], /NAME[\s\S]*--system/],
    [['eval', '--help'], /TASK\.jsonl[\s\S]*--shots[\s\S]*--results/],
    [['show', '--help'], /MODEL/],
    [['info', '--help'], /--json/],
    [['tune', '--help'], /--quick[\s\S]*--dry-run[\s\S]*--reset/],
    [['--version'], new RegExp(`^${VERSION}$`, 'm')],
  ])('%j', async (words, text) => {
    const { code, stdout, stderr } = await run(words)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(text)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })
})
