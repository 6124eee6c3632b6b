// Chats: that a turn computes its new text only and answers as if all had been computed, and what becomes of the
// conversation when a turn ends otherwise.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  ChatTemplateError,
  DisposedError,
  NoChatTemplateError,
  SessionBusyError,
  TokenizerNotFoundError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import {
  type Chat,
  type ChatMessage,
  type GenerateResult,
  loadModel,
  type Model,
  PLAIN_CHAT_TEMPLATE,
} from '../../lib/index.js'
import { lineTemplate, PLAIN, recordPrompts } from '../support/chats.js'
import { fixture, temporaryFolder } from '../support/checkpoints.js'
import { writeScriptedModel } from '../support/scripted-model.js'

let model: Model
/** Keeps nothing: what it says was computed from the first token on. */
let stateless: Model
beforeAll(async () => {
  model = await loadModel()
  stateless = await loadModel(undefined, { promptCache: false })
})
afterAll(() => {
  model.dispose()
  stateless.dispose()
})

const options = { maxTokens: 6, ignoreEos: true }

function recorded(of: Model): number[][] {
  onTestFinished(() => void vi.restoreAllMocks())
  return recordPrompts(of)
}

/** That a turn said what a model says that computes the whole prompt. */
async function expectAsComputed(result: GenerateResult, prompt: readonly number[]): Promise<void> {
  const { tokens, text } = await stateless.generate(prompt, options)
  expect(result.tokens).toEqual(tokens)
  expect(result.text).toBe(text)
  expect(result.usage.promptTokens).toBe(prompt.length)
}

/** Tokens that a turn left to the next one: the last one of a text that `maxTokens` ended has not been consumed. */
const leftBy = ({ usage, finishReason }: GenerateResult) =>
  usage.totalTokens - (finishReason === 'length' ? 1 : 0)

describe.each([
  ['the default prompt cache', {}],
  ['no prompt cache', { promptCache: false }],
  ['a prompt cache that holds nothing', { promptCache: { maxBytes: 1000 } }],
] as const)('ten turns with %s', (_, loadOptions) => {
  it('compute their new text only, and answer as if all had been computed', async () => {
    await using model = await loadModel(undefined, loadOptions)
    const prompts = recorded(model)
    using chat = model.createChat({ ...PLAIN, system: 'A story for children.' })
    let last: GenerateResult | undefined
    let text = 'A story for children.\n\n'
    for (let turn = 1; turn <= 10; turn++) {
      const question = `What came ${turn} days later, and then?`
      const result = await chat.send(question, options)
      const prompt = prompts.at(-1)!
      text += `User: ${question}\nAssistant:`
      expect(model.tokenizer!.decode(prompt, { skipSpecialTokens: false })).toBe(text)
      expect(result.usage.cachedTokens).toBe(last ? leftBy(last) : 0)
      await expectAsComputed(result, prompt)
      expect(result.finishReason).toBe('length')
      // The generated tokens stay those that were drawn.
      if (last)
        expect(prompt.slice(last.usage.promptTokens)).toEqual([
          ...last.tokens,
          ...prompt.slice(last.usage.totalTokens),
        ])
      text += `${result.text}<|endoftext|>`
      last = result
    }
    expect(chat.messages).toHaveLength(21)
    expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: last!.text })
  })
})

it('with an exact prompt cache, turns begin at multiples of 64 tokens only', async () => {
  await using model = await loadModel(undefined, { promptCache: { exact: true } })
  const prompts = recorded(model)
  using chat = model.createChat(PLAIN)
  for (let turn = 1; turn <= 6; turn++) {
    const result = await chat.send(`What came ${turn} days later, and then, my dear?`, options)
    const { cachedTokens, promptTokens } = result.usage
    expect(cachedTokens % 64).toBe(0)
    expect(cachedTokens).toBeGreaterThan(promptTokens - 64 - 30)
    await expectAsComputed(result, prompts.at(-1)!)
  }
})

it('after a stop token the next turn has its whole answer', async () => {
  const folder = await temporaryFolder()
  await using spelling = await loadModel(fixture('rene'), {
    tokenizer: 'test/fixtures/tokenizer-250',
  })
  await writeScriptedModel(folder, spelling.encode(': Hi!'))
  await using scripted = await loadModel(folder, { promptCache: false })
  using chat = scripted.createChat(PLAIN)
  let cached = 0
  for (let turn = 1; turn <= 10; turn++) {
    const { text, finishReason, usage } = await chat.send(`Turn ${turn}`)
    expect([text, finishReason, usage.completionTokens]).toEqual([' Hi!', 'stop', 4])
    expect(usage.cachedTokens).toBe(cached)
    // A line, since this tokenizer has no eos_token.
    const added = scripted.encode(`${turn === 1 ? '' : '\n'}User: Turn ${turn}\nAssistant:`).length
    expect(usage.promptTokens).toBe(cached + added)
    cached = usage.totalTokens
  }
})

it("adds no special tokens to the template's own", async () => {
  const folder = await temporaryFolder()
  await writeScriptedModel(folder, [1, 2, 3])
  const config = { add_bos_token: true, bos_token: '<|endoftext|>' }
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(config))
  await using model = await loadModel(folder)
  expect(model.tokenizer!.startTokens).toEqual([0])
  const prompts = recorded(model)
  using chat = model.createChat({ template: `{{ bos_token }}${lineTemplate()}` })
  await chat.send('One')
  await chat.send('Two')
  const [first, second] = prompts.map((prompt) => prompt.filter((token) => token === 0).length)
  expect([first, second]).toEqual([1, 1])
})

it('an answer without a token is one, and costs the prompt only', async () => {
  using chat = model.createChat(PLAIN)
  const first = await chat.send('Hello, who is there?', { logitBias: { 0: 100 } })
  expect([first.text, first.tokens, first.finishReason]).toEqual(['', [], 'stop'])
  const next = await chat.send('Nobody?', options)
  expect(next.usage.cachedTokens).toBe(first.usage.promptTokens)
  expect(chat.messages.map(({ content }) => content)).toEqual([
    'Hello, who is there?',
    '',
    'Nobody?',
    next.text,
  ])
})

describe('a template that rewrites what was said', () => {
  const turns = ['One day, a boy', 'And then he saw', 'At last they went']

  // Each turn's prompt is its text, and it begins at least where `shared` says.
  async function play(
    chat: Chat,
    prompts: number[][],
    check: (result: GenerateResult, last: GenerateResult | undefined) => void,
  ): Promise<void> {
    let last: GenerateResult | undefined
    for (const turn of turns) {
      const result = await chat.send(turn, options)
      check(result, last)
      await expectAsComputed(result, prompts.at(-1)!)
      last = result
    }
  }

  it('by trimming answers goes back to the prompt of the turn', async () => {
    const prompts = recorded(model)
    // The model's answers begin with a space.
    using chat = model.createChat({
      template:
        "{% for message in messages %}{{ message.role ~ ':' ~ message.content | trim ~ '\\n' }}{% endfor %}assistant:",
    })
    await play(chat, prompts, ({ usage }, last) => {
      if (last) expect(last.text).not.toBe(last.text.trim())
      expect(usage.cachedTokens).toBe(last?.usage.promptTokens ?? 0)
    })
    const said = chat.messages.slice(0, -1)
    expect(model.tokenizer!.decode(prompts.at(-1)!)).toBe(
      `${said.map(({ role, content }) => `${role}:${(content as string).trim()}\n`).join('')}assistant:`,
    )
  })

  it('from its first word on computes all of it', async () => {
    const prompts = recorded(model)
    using chat = model.createChat({
      template: `{{ messages | length }} messages: ${lineTemplate()}`,
    })
    await play(chat, prompts, ({ usage }) => expect(usage.cachedTokens).toBe(0))
    expect(model.tokenizer!.decode(prompts.at(-1)!)).toMatch(/^5 messages: <user>One day, a boy;/)
  })

  it('by leaving out all but the last question goes back to what they share', async () => {
    const prompts = recorded(model)
    using chat = model.createChat({
      system: 'Once upon a time there was a house by the sea.',
      template: '{{ messages[0].content }}\n{{ messages[-1].content }}:',
    })
    await play(chat, prompts, () => {})
    expect(model.tokenizer!.decode(prompts.at(-1)!)).toBe(
      'Once upon a time there was a house by the sea.\nAt last they went:',
    )
  })
})

it('a stop string goes back to the prompt of its turn', async () => {
  const prompts = recorded(model)
  const whole = await stateless.generate('User: Tell me a tale\nAssistant:', options)
  const stop = whole.text.slice(-4)
  using chat = model.createChat(PLAIN)
  const first = await chat.send('Tell me a tale', { ...options, stop })
  expect(first.finishReason).toBe('stop')
  expect(first.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
  const next = await chat.send('Go on', options)
  expect(next.usage.cachedTokens).toBe(first.usage.promptTokens)
  await expectAsComputed(next, prompts.at(-1)!)
  expect(model.tokenizer!.decode(prompts.at(-1)!, { skipSpecialTokens: false })).toBe(
    `User: Tell me a tale\nAssistant:${first.text}<|endoftext|>User: Go on\nAssistant:`,
  )
})

describe('a turn that ends early', () => {
  it('by break is part of the conversation', async () => {
    const prompts = recorded(model)
    using chat = model.createChat(PLAIN)
    let said = ''
    const stream = chat.stream('Tell me a tale', { ...options, maxTokens: 200 })
    for await (const { text } of stream) {
      said += text
      if (stream.partial.tokens.length === 3) break
    }
    expect(said).not.toBe('')
    expect(chat.messages).toEqual([
      { role: 'user', content: 'Tell me a tale' },
      { role: 'assistant', content: said },
    ])
    const { tokens, usage } = await stream.result
    const next = await chat.send('Go on', options)
    expect(next.usage.cachedTokens).toBe(usage.promptTokens)
    expect(prompts.at(-1)!.slice(usage.promptTokens, usage.promptTokens + 3)).toEqual(tokens)
    await expectAsComputed(next, prompts.at(-1)!)
  })

  it('by break is part of it where somebody waits for the result too', async () => {
    using chat = model.createChat(PLAIN)
    const stream = chat.stream('Tell me a tale', { ...options, maxTokens: 500 })
    const { result } = stream
    for await (const _ of stream) break
    const { text, finishReason, tokens } = await result
    expect(finishReason).toBe('abort')
    expect(tokens.length).toBeLessThan(500)
    expect(chat.messages.slice(1)).toEqual([{ role: 'assistant', content: text }])
    await chat.send('Go on', options)
  })

  it('before its first token leaves no trace', async () => {
    using chat = model.createChat(PLAIN)
    const stream = chat.stream('Tell me a tale', options)
    const first = stream.next()
    await stream.return()
    await first
    expect(chat.messages).toEqual([])
    await chat.send('Hello', options)
    expect(chat.messages).toHaveLength(2)
  })

  it('by an abort leaves the conversation as it was', async () => {
    const prompts = recorded(model)
    using chat = model.createChat(PLAIN)
    const first = await chat.send('Tell me a tale', options)
    const before = chat.messages
    const reason = new Error('enough')
    await expect(chat.send('No', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const stream = chat.stream('Go on', { ...options, maxTokens: 500, signal: controller.signal })
    await stream.next()
    controller.abort(reason)
    await expect(stream.result).rejects.toBe(reason)
    expect(chat.messages).toEqual(before)
    const next = await chat.send('Go on', options)
    // That prompt was computed: the conversation begins in the same way.
    expect(next.usage.cachedTokens).toBeGreaterThanOrEqual(leftBy(first))
    await expectAsComputed(next, prompts.at(-1)!)
  })

  it('by an abort and then a return does so too', async () => {
    using chat = model.createChat(PLAIN)
    const controller = new AbortController()
    const stream = chat.stream('Go on', { ...options, maxTokens: 500, signal: controller.signal })
    await stream.next()
    const { result } = stream
    controller.abort(new Error('enough'))
    await stream.return()
    await result.catch(() => {})
    expect(chat.messages).toEqual([])
  })

  it('because the template refuses it leaves a chat that can be used', async () => {
    using chat = model.createChat({
      template: `{% if messages[-1].content == 'no' %}{{ raise_exception('not this') }}{% endif %}${lineTemplate()}`,
    })
    await chat.send('yes', options)
    const before = chat.messages
    await expect(chat.send('no', options)).rejects.toThrow(ChatTemplateError)
    await expect(chat.send('no', options)).rejects.toThrow(
      '[send] the template refuses this conversation: not this',
    )
    await expect(chat.stream('no', options).next()).rejects.toThrow('[stream] the template')
    expect(chat.messages).toEqual(before)
    await chat.send('yes', options)
    expect(chat.messages).toHaveLength(4)
  })

  it('because its prompt is empty says so', async () => {
    using chat = model.createChat({ template: "{{ '' }}" })
    await expect(chat.send('Hello')).rejects.toThrow(
      '[send] the chat template makes an empty prompt of this conversation',
    )
  })
})

describe('regenerate', () => {
  const warm = { ...options, temperature: 1 }

  it('replaces the answer by another one, and computes nothing of the prompt', async () => {
    for (const promptCache of [undefined, false] as const) {
      await using model = await loadModel(undefined, { promptCache })
      const prompts = recorded(model)
      using chat = model.createChat({ ...PLAIN, system: 'A story.' })
      await chat.send('Tell me a tale', options)
      const second = await chat.send('Go on', { ...warm, maxTokens: 12 })
      const again = await chat.regenerate({ ...warm, maxTokens: 12 })
      expect(again.usage.cachedTokens).toBe(second.usage.promptTokens)
      expect(again.usage.promptTokens).toBe(second.usage.promptTokens)
      expect(again.seed).not.toBe(second.seed)
      expect(again.text).not.toBe(second.text)
      expect(chat.messages).toHaveLength(5)
      expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: again.text })
      const same = await chat.regenerate({ ...warm, maxTokens: 12, seed: second.seed })
      expect(same.tokens).toEqual(second.tokens)
      const greedy = await chat.regenerate({ ...warm, topK: 1 }) // the most probable tokens
      await expectAsComputed(greedy, prompts.at(-1)!)
      const next = await chat.send('And then?', options)
      expect(next.usage.cachedTokens).toBe(leftBy(greedy))
      await expectAsComputed(next, prompts.at(-1)!)
      vi.restoreAllMocks()
    }
  })

  it('says where there is nothing to replace, and that greedy answers are the same', async () => {
    using chat = model.createChat({ ...PLAIN, system: 'A story.' })
    await expect(chat.regenerate(warm)).rejects.toThrow(
      '[regenerate] there is no answer to replace: send a message first',
    )
    await chat.send('Tell me a tale', options)
    const before = chat.messages
    for (const cold of [options, { ...options, temperature: 0 }, { ...options, seed: 3 }]) {
      await expect(chat.regenerate(cold)).rejects.toThrow(UnsupportedOptionError)
    }
    await expect(chat.regenerate({ ...warm, maxTokens: 0 })).rejects.toThrow(
      '[regenerate] maxTokens',
    )
    await expect(chat.regenerate(null as never)).rejects.toThrow('[regenerate] options must be')
    expect(chat.messages).toEqual(before)
  })

  it('that is aborted keeps the answer that there was', async () => {
    using chat = model.createChat(PLAIN)
    await chat.send('Tell me a tale', options)
    const before = chat.messages
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(chat.regenerate({ ...warm, signal })).rejects.toThrow('enough')
    expect(chat.messages).toEqual(before)
  })
})

describe('fork', () => {
  it('makes two conversations that go on by themselves, both from the same state', async () => {
    await using model = await loadModel(undefined, { promptCache: false })
    const prompts = recorded(model)
    using chat = model.createChat(PLAIN)
    const first = await chat.send('Tell me a tale', options)
    using other = await chat.fork()
    const left = await chat.send('Of a cat', options)
    const leftPrompt = prompts.at(-1)!
    const right = await other.send('Of a dog', options)
    expect(left.usage.cachedTokens).toBe(leftBy(first))
    expect(right.usage.cachedTokens).toBe(leftBy(first))
    await expectAsComputed(left, leftPrompt)
    await expectAsComputed(right, prompts.at(-1)!)
    expect(chat.messages[2]!.content).toBe('Of a cat')
    expect(other.messages[2]!.content).toBe('Of a dog')
    chat.dispose()
    const more = await other.send('And then?', options)
    expect(more.usage.cachedTokens).toBe(leftBy(right))
    await expectAsComputed(more, prompts.at(-1)!)
  })

  it('can give another answer to the last question at once', async () => {
    await using model = await loadModel(undefined, { promptCache: false })
    using chat = model.createChat(PLAIN)
    const first = await chat.send('Tell me a tale', options)
    using other = await chat.fork()
    const again = await other.regenerate({ ...options, temperature: 1 })
    expect(again.usage.cachedTokens).toBe(first.usage.promptTokens)
    expect(chat.messages.at(-1)!.content).toBe(first.text)
  })

  it('of a chat that has not begun has not begun', async () => {
    using chat = model.createChat({ ...PLAIN, system: 'A story.' })
    using other = await chat.fork()
    await other.send('Hello', options)
    expect(chat.messages).toEqual([{ role: 'system', content: 'A story.' }])
  })
})

describe('one call at a time', () => {
  it('others are told what it is busy with', async () => {
    using chat = model.createChat(PLAIN)
    const stream = chat.stream('Tell me a tale', { ...options, maxTokens: 100 })
    await stream.next()
    const message = 'this chat is busy with stream: wait for its end, or fork the chat before'
    for (const [operation, call] of Object.entries({
      send: () => chat.send('Hello'),
      stream: () => chat.stream('Hello').next(),
      regenerate: () => chat.regenerate({ temperature: 1 }),
      fork: () => chat.fork(),
      save: () => chat.save('never.session'),
      load: () => chat.load('never.session'),
    })) {
      const error = await call().then(
        () => undefined,
        (error: Error) => error,
      )
      if (operation === 'regenerate') {
        expect(error).toBeInstanceOf(RangeError) // there is no answer yet
        continue
      }
      expect(error).toBeInstanceOf(SessionBusyError)
      expect(error!.message).toBe(`[${operation}] ${message}`)
    }
    await stream.return()
    await chat.send('Hello', options)
    expect(chat.messages).toHaveLength(4)
  })

  it('two at once: the first one is answered', async () => {
    using chat = model.createChat(PLAIN)
    const calls = await Promise.allSettled(
      ['One', 'Two', 'Three'].map((m) => chat.send(m, options)),
    )
    expect(calls.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    expect(chat.messages[0]).toEqual({ role: 'user', content: 'One' })
    expect(chat.messages).toHaveLength(2)
  })

  it('a call that fails while it begins does not free what another one holds', async () => {
    onTestFinished(() => void vi.restoreAllMocks())
    // The second call comes ever later while the first one fails.
    for (let delay = 0; delay < 40; delay++) {
      using chat = model.createChat(PLAIN)
      let fail!: () => void
      const failing = new Promise<never>((_, reject) => {
        fail = () => reject(new Error('full'))
      })
      const open = vi.spyOn(model.engine, 'open').mockReturnValueOnce(failing)
      const first = expect(chat.send('One', options)).rejects.toThrow('full')
      await vi.waitUntil(() => open.mock.calls.length > 0, { interval: 1 })
      fail()
      for (let i = 0; i < delay; i++) await null
      const second = chat.stream('Two', { ...options, maxTokens: 100 })
      const chunk = second.next()
      await first
      open.mockRestore()
      await chunk
      await expect(chat.fork()).rejects.toThrow(SessionBusyError)
      await second.return()
      using _ = await chat.fork()
    }
  })

  it('a stream takes its place in the conversation when it begins', async () => {
    using chat = model.createChat(PLAIN)
    const late = chat.stream('Two', options)
    const never = chat.stream('Never', options)
    await chat.send('One', options)
    await late.result
    expect(chat.messages.map(({ content }) => content)).toEqual([
      'One',
      expect.any(String),
      'Two',
      expect.any(String),
    ])
    await never.return()
    expect(chat.messages).toHaveLength(4)
  })
})

it('two chats and a session at once answer as they do alone', async () => {
  const alone = async () => {
    using chat = stateless.createChat({ ...PLAIN, system: 'A story.' })
    using other = stateless.createChat(PLAIN)
    using session = stateless.createSession()
    return [
      (await chat.send('Tell me a tale', options)).tokens,
      (await other.send('Of the sea', options)).tokens,
      (await session.generate('The sea', options)).tokens,
      (await chat.send('Go on', options)).tokens,
      (await other.send('And then?', options)).tokens,
    ]
  }
  const together = async () => {
    using chat = model.createChat({ ...PLAIN, system: 'A story.' })
    using other = model.createChat(PLAIN)
    using session = model.createSession()
    const first = await Promise.all([
      chat.send('Tell me a tale', options),
      other.send('Of the sea', options),
      session.generate('The sea', options),
    ])
    const second = await Promise.all([
      chat.send('Go on', options),
      other.send('And then?', options),
    ])
    return [...first, ...second].map(({ tokens }) => tokens)
  }
  expect(await together()).toEqual(await alone())
})

describe('messages', () => {
  it('are copies, going in and coming out', async () => {
    const first = { role: 'user', content: [{ type: 'text', text: 'Hello' }] }
    const given = [first]
    using chat = model.createChat({ ...PLAIN, messages: given })
    first.content[0]!.text = 'changed'
    given.pop()
    chat.messages.push({ role: 'user', content: 'changed' })
    ;(chat.messages[0]!.content as unknown as { text: string }[])[0]!.text = 'changed'
    const message: ChatMessage = { role: 'user', content: 'Who is there?' }
    const stream = chat.stream(message, options)
    message.content = 'changed'
    await stream.result
    expect(chat.messages.slice(0, 2)).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      { role: 'user', content: 'Who is there?' },
    ])
  })

  it('of other kinds reach the template as they are', async () => {
    const prompts = recorded(model)
    using chat = model.createChat({ template: lineTemplate('message | tojson') })
    const messages: ChatMessage[] = [
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: { x: 1 } } }],
      },
      { role: 'tool', tool_call_id: 'a', content: '{"y": 2}' },
      { role: 'tool', tool_call_id: 'b' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'é😀' },
          { type: 'image', url: 'x' },
        ],
      },
    ]
    await chat.send(messages, options)
    expect(chat.messages.slice(0, 4)).toEqual(messages)
    const text = model.tokenizer!.decode(prompts.at(-1)!)
    expect(text).toContain('"arguments": {"x": 1}')
    expect(text).toContain('{"type": "image", "url": "x"}')
    expect(text).toContain('é😀')
    expect(text).not.toContain('null')
  })

  it('that were there already are answered by sending none', async () => {
    using chat = model.createChat({ ...PLAIN, messages: [{ role: 'user', content: 'Hello' }] })
    await chat.send([], options)
    expect(chat.messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
  })

  it('that are none are errors at once, and change nothing', async () => {
    using chat = model.createChat(PLAIN)
    for (const [message, problem] of [
      [7, '[send] message 0 must be { role, content } but is 7'],
      [null, '[send] message 0 must be { role, content } but is null'],
      [undefined, '[send] message 0 must be'],
      [{ content: 'x' }, '[send] the role of message 0 must be a text'],
      [[{ role: 'user', content: 7 }], '[send] the content of message 0 must be'],
      [[{ role: 'user', content: 'a' }, 'b'], '[send] message 1 must be'],
      [[], '[send] messages must have at least one message'],
    ] as const) {
      await expect(chat.send(message as never, options)).rejects.toThrow(problem)
    }
    expect(() => chat.stream(7 as never)).toThrow('[stream] message 0 must be')
    await expect(chat.send('x', { maxToken: 1 } as never)).rejects.toThrow(
      'did you mean "maxTokens"?',
    )
    await expect(chat.send('x', null as never)).rejects.toThrow('[send] options must be an object')
    await expect(chat.send('x', { addSpecialTokens: false })).rejects.toThrow(
      '[send] addSpecialTokens changes nothing in a chat',
    )
    await expect(chat.send('x', { parseSpecial: false })).rejects.toThrow(
      '[send] parseSpecial changes nothing in a chat',
    )
    await expect(chat.send('\ud83d', options)).resolves.toBeDefined()
    expect(chat.messages).toHaveLength(2)
  })
})

describe('createChat', () => {
  it('refuses what it does not know', () => {
    for (const [options, problem] of [
      [{ sytem: 'x' }, '[createChat] unknown option "sytem": did you mean "system"?'],
      [null, '[createChat] options must be an object'],
      [{ system: 7 }, '[createChat] system must be'],
      [{ ...PLAIN, messages: 'x' }, '[createChat] messages must be a list'],
      [{ ...PLAIN, messages: [{ role: 7 }] }, '[createChat] the role of message 0 must be'],
      [{ template: 7 }, 'template must be'],
      [{ ...PLAIN, tools: 'x' }, '[createChat] tools must be a list'],
      [{ ...PLAIN, tools: [7] }, '[createChat] item 0 of tools must be an object'],
      [{ ...PLAIN, templateArguments: 'x' }, '[createChat] templateArguments must be an object'],
      [{ ...PLAIN, templateArguments: [1] }, '[createChat] templateArguments must be an object'],
      [{ ...PLAIN, templateArguments: null }, '[createChat] templateArguments must be an object'],
      [{ ...PLAIN, templateArguments: { f: () => 1 } }, '[createChat] f in templateArguments must'],
      [{ ...PLAIN, templateArguments: { template: 'x' } }, '[createChat] template is no argument'],
      [{ ...PLAIN, templateArguments: { tools: [] } }, '[createChat] tools is no argument'],
      [
        { ...PLAIN, templateArguments: { addGenerationPrompt: false } },
        '[createChat] addGenerationPrompt is no argument',
      ],
    ] as const) {
      expect(() => model.createChat(options as never)).toThrow(problem)
    }
    expect(model.memory().snapshotBytes).toBeGreaterThanOrEqual(0)
  })

  it('says what to do for a model without a template', () => {
    expect(() => model.createChat()).toThrow(NoChatTemplateError)
    expect(() => model.createChat()).toThrow(
      '[createChat] this checkpoint has no chat template, as base models have none. Pass one: ' +
        'loadModel(path, { chatTemplate }) or the option template here, with a text of your own or PLAIN_CHAT_TEMPLATE',
    )
  })

  it('takes the template that the model was loaded with', async () => {
    await using model = await loadModel(undefined, { chatTemplate: PLAIN_CHAT_TEMPLATE })
    using chat = model.createChat()
    await chat.send('Hello', options)
  })

  it('needs a tokenizer', async () => {
    await using model = await loadModel(fixture('mamba2-hf'))
    expect(() => model.createChat(PLAIN)).toThrow(TokenizerNotFoundError)
  })

  it('copies the arguments of the template, which it must mention', async () => {
    const prompts = recorded(model)
    const templateArguments = { tone: 'kind', list: [1] }
    using chat = model.createChat({
      template: `{{ tone }} {{ list[0] }} ${lineTemplate()}`,
      templateArguments,
    })
    templateArguments.tone = 'rude'
    templateArguments.list[0] = 2
    await chat.send('Hello', options)
    expect(model.tokenizer!.decode(prompts.at(-1)!)).toBe('kind 1 <user>Hello;<assistant>')
    using other = model.createChat({ ...PLAIN, templateArguments })
    await expect(other.send('Hello')).rejects.toThrow(UnsupportedOptionError)
  })
})

async function expectNothingLeft(model: Model): Promise<void> {
  await vi.waitFor(() => {
    expect(model.memory().snapshotBytes).toBe(0)
    expect(model.engine.load).toMatchObject({ streams: 0, waiting: 0, runs: 0 })
  })
}

describe('dispose', () => {
  it('in the middle of a turn lets it end, and frees all', async () => {
    await using model = await loadModel(undefined, { promptCache: false })
    const chat = model.createChat(PLAIN)
    await chat.send('Tell me a tale', options)
    const stream = chat.stream('Go on', { ...options, maxTokens: 40 })
    await stream.next()
    chat.dispose()
    chat.dispose()
    expect((await stream.result).tokens).toHaveLength(40)
    await expect(chat.send('Hello')).rejects.toThrow(DisposedError)
    expect(() => chat.stream('Hello')).toThrow('[stream] this chat was disposed')
    await expect(chat.fork()).rejects.toThrow(DisposedError)
    await expect(chat.save('never.session')).rejects.toThrow(DisposedError)
    await expectNothingLeft(model)
    expect(chat.messages).not.toEqual([])
  })

  it('of a stream that was never begun', async () => {
    using chat = model.createChat(PLAIN)
    const stream = chat.stream('Hello', options)
    chat.dispose()
    await expect(stream.next()).rejects.toThrow('[stream] this chat was disposed')
  })

  it('of the model in the middle of a turn rejects', async () => {
    const model = await loadModel()
    using chat = model.createChat(PLAIN)
    await chat.send('Tell me a tale', options)
    const calls = [chat.send('Go on', { ...options, maxTokens: 500 })]
    await sleep(5)
    model.dispose()
    await expect(calls[0]).rejects.toThrow(DisposedError)
    await expect(chat.send('Hello')).rejects.toThrow(DisposedError)
    await expect(chat.fork()).rejects.toThrow(DisposedError)
  })

  it('after every kind of end leaves nothing behind', async () => {
    await using model = await loadModel(undefined, { promptCache: false })
    for (let i = 0; i < 3; i++) {
      using chat = model.createChat(PLAIN)
      await chat.send('Tell me a tale', options)
      using fork = await chat.fork()
      await chat.regenerate({ ...options, temperature: 1 })
      for await (const _ of fork.stream('Go on', options)) break
      await fork.send('No', { ...options, signal: AbortSignal.abort() }).catch(() => {})
    }
    await expectNothingLeft(model)
  })
})
