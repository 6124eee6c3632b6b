// Chats that are saved and loaded.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  ChatTemplateError,
  CorruptFileError,
  DisposedError,
  SessionMismatchError,
} from '../../lib/support/errors.js'
import { type ChatMessage, loadModel, type Model } from '../../lib/index.js'
import {
  readSessionFile,
  type SessionContents,
  writeSessionFile,
} from '../../lib/sessions/session-file.js'
import { SlotAllocator } from '../../lib/engine/slot-allocator.js'
import { namedFields } from '../../lib/engine/state-pool.js'
import { lineTemplate, PLAIN, recordPrompts } from '../support/chats.js'
import { runChild } from '../support/child-process.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { seededIntegers } from '../unit/random.js'

const CONTINUE = fileURLToPath(new URL('../support/continue-chat.ts', import.meta.url))
const options = { maxTokens: 6, ignoreEos: true }

// Without a prompt cache: what is reused is the chat's.
let model: Model
beforeAll(async () => {
  model = await loadModel(undefined, { promptCache: false })
})
afterAll(() => model.dispose())

const inFolder = async (name = 'a.session') => join(await temporaryFolder(), name)

/** The file of a chat of two turns, and the chat's messages. */
async function savedChat(): Promise<{ file: string; messages: ChatMessage[] }> {
  const file = await inFolder()
  using chat = model.createChat({ ...PLAIN, system: 'A story.' })
  await chat.send('Tell me a tale', options)
  await chat.send('Of a cat', options)
  await chat.save(file)
  return { file, messages: chat.messages }
}

async function contentsOf(file: string): Promise<SessionContents> {
  const fields = namedFields(model.languageModel).map(({ name, shape }) => ({ name, shape }))
  const vocabulary = model.config.paddedVocabSize
  const [, hash, description] = await headerOf(file)
  return readSessionFile(file, { model: { hash, description }, fields, vocabulary })
}

async function headerOf(file: string): Promise<[Record<string, string>, string, string]> {
  const bytes = await readFile(file)
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0)))
  const metadata = JSON.parse(header.toString()).__metadata__
  return [metadata, metadata.model, metadata.model_description]
}

describe('a saved chat', () => {
  it('goes on in another process with its new text only', async () => {
    const file = await inFolder()
    using chat = model.createChat({ ...PLAIN, system: 'A story.' })
    for (let turn = 1; turn <= 9; turn++) await chat.send(`What came ${turn} days later?`, options)
    await chat.save(file)
    const { before, ...other } = await runChild(CONTINUE, [
      file,
      'What came 10 days later?',
      JSON.stringify(options),
    ]).then(({ stdout, stderr }) => {
      expect(stderr).toBe('')
      return JSON.parse(stdout)
    })
    expect(before).toEqual(chat.messages)
    const { tokens, text, usage } = await chat.send('What came 10 days later?', options)
    expect(other).toEqual({ tokens, text, usage, after: chat.messages })
    expect(usage.cachedTokens).toBeGreaterThan(9 * 12)
  })

  it('takes the place of a turn whose states are still being copied', async () => {
    const { file } = await savedChat()
    using alone = model.createChat(PLAIN)
    await alone.load(file)
    const expected = await alone.send('And then?', options)
    const { copy } = SlotAllocator.prototype
    const late = vi.spyOn(SlotAllocator.prototype, 'copy').mockImplementation(async function (
      this: SlotAllocator,
      ...args
    ) {
      const snapshot = await copy.apply(this, args)
      await sleep(300)
      return snapshot
    })
    onTestFinished(() => late.mockRestore())
    using chat = model.createChat(PLAIN)
    await chat.send('Something else', options)
    await chat.load(file)
    const { tokens, usage } = await chat.send('And then?', options)
    expect({ tokens, usage }).toEqual({ tokens: expected.tokens, usage: expected.usage })
  })

  it('of texts of all kinds comes back as it was', async () => {
    const file = await inFolder()
    const messages: ChatMessage[] = [
      { role: 'system', content: 'é語😀 \u0000\u2028 "\\" </s> __proto__' },
      {
        role: 'user',
        content: [{ type: 'text', text: '\ud83d alone' }],
        name: 'x',
        n: [1.5, null],
      },
      { role: 'assistant', content: null, reasoning_content: 'hm' },
      { role: 'user', content: '' },
    ]
    using chat = model.createChat({ template: lineTemplate('message.content | string'), messages })
    const first = await chat.send('\ufeffand 👩‍👩‍👧 so on', { ...options, temperature: 3, seed: 4 })
    await chat.save(file)
    using loaded = model.createChat({ template: lineTemplate('message.content | string') })
    await loaded.load(file)
    expect(loaded.messages).toEqual(chat.messages)
    const [a, b] = [await chat.send('more', options), await loaded.send('more', options)]
    expect(b.usage).toEqual(a.usage)
    expect(b.tokens).toEqual(a.tokens)
    expect(b.usage.cachedTokens).toBe(first.usage.totalTokens - 1)
  })

  it('may be long: a megabyte of text', async () => {
    const file = await inFolder()
    const long = 'Word é😀\n'.repeat(130_000)
    using chat = model.createChat({ ...PLAIN, messages: [{ role: 'user', content: long }] })
    await chat.save(file)
    using loaded = model.createChat(PLAIN)
    await loaded.load(file)
    expect(loaded.messages).toEqual([{ role: 'user', content: long }])
  })

  it('that has not begun comes back without a state', async () => {
    const file = await inFolder()
    using chat = model.createChat({ ...PLAIN, system: 'A story.' })
    await chat.save(file)
    using loaded = model.createChat(PLAIN)
    await loaded.send('This goes away', options)
    await loaded.load(file)
    expect(loaded.messages).toEqual([{ role: 'system', content: 'A story.' }])
    const [a, b] = [await chat.send('Hello', options), await loaded.send('Hello', options)]
    expect(b.usage).toEqual(a.usage)
    expect(a.usage.cachedTokens).toBe(0)
    expect(b.tokens).toEqual(a.tokens)
  })

  it('after a break goes on from the prompt, with the tokens that were drawn', async () => {
    const file = await inFolder()
    using chat = model.createChat(PLAIN)
    const stream = chat.stream('Tell me a tale', { ...options, maxTokens: 300 })
    for await (const _ of stream) if (stream.partial.tokens.length === 4) break
    await chat.save(file)
    const prompts = recordPrompts(model)
    onTestFinished(() => void vi.restoreAllMocks())
    using loaded = model.createChat(PLAIN)
    await loaded.load(file)
    const { usage } = await loaded.send('Go on', options)
    const { tokens, usage: before } = stream.partial
    expect(usage.cachedTokens).toBe(before.promptTokens)
    expect(prompts.at(-1)!.slice(before.promptTokens, before.totalTokens)).toEqual(tokens)
  })

  it('gives another last answer after loading too', async () => {
    const { file, messages } = await savedChat()
    using chat = model.createChat(PLAIN)
    await chat.load(file)
    const again = await chat.regenerate({ ...options, temperature: 1 })
    expect(chat.messages).toEqual([
      ...messages.slice(0, -1),
      { role: 'assistant', content: again.text },
    ])
  })

  it('is a session file too', async () => {
    const { file } = await savedChat()
    using session = await model.loadSession(file)
    expect(session.position).toBeGreaterThan(20)
    expect(model.tokenizer!.decode([...session.consumed])).toMatch(/^A story\.\n\nUser: Tell me/)
  })
})

describe('load refuses, and leaves the chat as it was,', () => {
  async function refused(file: string, error: new () => Error, problem: string): Promise<void> {
    using chat = model.createChat(PLAIN)
    await chat.send('Hello', options)
    ;(await chat.fork()).dispose() // its states are there
    const [before, { snapshotBytes }] = [chat.messages, model.memory()]
    const failure = await chat.load(file).then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(failure).toBeInstanceOf(error)
    expect(failure!.message).toContain(problem)
    expect(chat.messages).toEqual(before)
    expect(model.memory().snapshotBytes).toBe(snapshotBytes)
    await chat.send('And on', options)
  }

  it('a file of a session without a chat', async () => {
    const file = await inFolder()
    using session = model.createSession()
    await session.prefill('Once upon a time')
    await session.save(file)
    await refused(
      file,
      CorruptFileError,
      'a session that is no chat: load it with model.loadSession',
    )
  })

  it('no file, and no name of one', async () => {
    const file = await inFolder('none.session')
    await refused(file, CorruptFileError, `${file}: there is no such session file`)
    using chat = model.createChat(PLAIN)
    for (const path of ['', 7, undefined]) {
      await expect(chat.load(path as never)).rejects.toThrow('[load] the path must be a text')
      await expect(chat.save(path as never)).rejects.toThrow('[save] the path must be a text')
    }
  })

  it("another model's", async () => {
    const { file } = await savedChat()
    await using other = await loadModel(fixture('rene'), {
      tokenizer: 'test/fixtures/tokenizer-250',
    })
    using chat = other.createChat(PLAIN)
    await expect(chat.load(file)).rejects.toThrow(SessionMismatchError)
    expect(other.memory().snapshotBytes).toBe(0)
  })

  it('a chat without the tokens of its state', async () => {
    const { file } = await savedChat()
    const contents = await contentsOf(file)
    await writeSessionFile(file, { ...contents, consumed: undefined })
    await refused(file, CorruptFileError, 'it has no tokens')
  })

  it.each<[string, (chat: Record<string, unknown>) => unknown, string]>([
    ['of no object', () => 7, 'it has no text'],
    ['that is null', () => null, 'it has no text'],
    ['without a text', ({ text, ...rest }) => rest, 'it has no text'],
    ['with tokens of no list', (chat) => ({ ...chat, tokens: 'x' }), 'its tokens'],
    ['with tokens beyond the vocabulary', (chat) => ({ ...chat, tokens: [6144] }), 'its tokens'],
    ['with tokens below 0', (chat) => ({ ...chat, tokens: [-1] }), 'its tokens'],
    ['with broken tokens', (chat) => ({ ...chat, tokens: [1.5] }), 'its tokens'],
    ['without messages', ({ messages, ...rest }) => rest, 'messages must be a list'],
    ['with a message of no role', (chat) => ({ ...chat, messages: [{}] }), 'the role of message 0'],
    ['without borders', ({ borders, ...rest }) => rest, 'its borders'],
    ['with a border of no pair', (chat) => ({ ...chat, borders: [7] }), 'its borders'],
    ['with a border behind its end', (chat) => ({ ...chat, borders: [[1e6, 1]] }), 'its borders'],
    ['with a border of too many tokens', (c) => ({ ...c, borders: [[1, 1e6]] }), 'its borders'],
    [
      'with borders that go back',
      (c) => ({
        ...c,
        borders: [
          [5, 2],
          [4, 3],
        ],
      }),
      'its borders',
    ],
    [
      'with tokens that go back',
      (c) => ({
        ...c,
        borders: [
          [5, 3],
          [6, 2],
        ],
      }),
      'its borders',
    ],
  ])('a chat %s', async (_, change, problem) => {
    const { file } = await savedChat()
    const contents = await contentsOf(file)
    const chat = JSON.stringify(change(JSON.parse(contents.chat!)))
    await writeSessionFile(file, { ...contents, chat })
    await refused(file, CorruptFileError, `the chat in this session file is damaged: ${problem}`)
  })

  it('damaged texts, at random: an error of its own or a chat that works', async () => {
    const { file } = await savedChat()
    const contents = await contentsOf(file)
    const draw = seededIntegers(3)
    const odd = ['"', '[', '}', '\\', 'null', '-1', '1e99', '\u0000', ',', '{"length":9}', '']
    let refusals = 0
    for (let i = 0; i < 80; i++) {
      const text = contents.chat!
      const at = draw(text.length)
      const chat = text.slice(0, at) + odd[draw(odd.length)]! + text.slice(at + draw(6))
      await writeSessionFile(file, { ...contents, chat })
      using loaded = model.createChat(PLAIN)
      const failure = await loaded.load(file).catch((error: unknown) => error)
      if (failure) {
        expect(failure, `mutation ${i}`).toBeInstanceOf(CorruptFileError)
        refusals += 1
      } else if (i % 10 === 0) {
        await loaded.send('Hello', { maxTokens: 1 }).catch((error: unknown) => {
          expect(error, `mutation ${i}`).toBeInstanceOf(ChatTemplateError) // a role of its own
        })
      }
    }
    expect(refusals).toBeGreaterThan(20)
    expect(model.memory().snapshotBytes).toBe(0)
  })

  it('a file with any byte changed', async () => {
    const { file } = await savedChat()
    const bytes = await readFile(file)
    const draw = seededIntegers(5)
    for (let i = 0; i < 40; i++) {
      const damaged = Buffer.from(bytes)
      const at = i < 20 ? draw(2000) : draw(bytes.length)
      damaged[at]! ^= 1 << draw(8)
      await writeFile(file, damaged)
      using chat = model.createChat(PLAIN)
      const failure = await chat.load(file).catch((error: unknown) => error)
      expect((failure as Error | undefined)?.name, `byte ${at}`).toMatch(
        /^(CorruptFileError|SessionMismatchError)$/,
      )
    }
  })
})

describe('dispose', () => {
  it('while it is saved writes the file as it was then, or without a state', async () => {
    const file = await inFolder()
    await using model = await loadModel(undefined, { promptCache: false })
    const chat = model.createChat(PLAIN)
    await chat.send('Tell me a tale', options)
    ;(await chat.fork()).dispose() // its states are there
    const saving = chat.save(file)
    await new Promise(setImmediate) // the weights are being read for the model's identity
    chat.dispose()
    await saving
    expect(model.memory().snapshotBytes).toBe(0)
    using loaded = model.createChat(PLAIN)
    await loaded.load(file)
    expect(loaded.messages).toEqual(chat.messages)
    await loaded.send('Go on', options)
  })

  it('while it is loaded rejects, and frees what was read', async () => {
    const { file } = await savedChat()
    await using model = await loadModel(undefined, { promptCache: false })
    const chat = model.createChat(PLAIN)
    const loading = chat.load(file)
    chat.dispose()
    await expect(loading).rejects.toThrow(DisposedError)
    expect(model.memory().snapshotBytes).toBe(0)
  })
})
