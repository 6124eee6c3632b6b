// Chats with a model that thinks: thoughts apart from the answer, counted, and dropped from later prompts.

import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Chat, type GenerateOptions, loadModel, type Model } from '../../lib/index.js'
import { lineTemplate, recordPrompts, THINKING_TEMPLATE } from '../support/chats.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { writeTaggedModel } from '../support/scripted-model.js'

/** How a tokenizer has the tags: as tokens of its own, or in pieces. */
const TAGS = {
  'special tokens': { pieces: ['<think>', '</think>'], special: true },
  'tokens that are text': { pieces: ['<think>', '</think>'], special: false },
  'several tokens each': { pieces: ['<thi', 'nk>', '</th', 'ink>'], special: false },
} as const
type TagKind = keyof typeof TAGS

/** A model that says the parts of `script` one after the other, then ends. No token may come twice; ` s` is one, `~` parts it. */
async function modelSaying(script: string, kind: TagKind = 'special tokens'): Promise<Model> {
  const folder = await temporaryFolder()
  await writeTaggedModel(folder, script, TAGS[kind])
  const model = await loadModel(folder, { promptCache: false })
  onTestFinished(() => model.dispose())
  return model
}

const chatOf = (model: Model, options = {}) =>
  model.createChat({ template: THINKING_TEMPLATE, ...options })

/** What comes out of a turn, chunk by chunk and in the end. */
async function say(chat: Chat, options: GenerateOptions = {}) {
  const stream = chat.stream('Hi', options)
  const [texts, thoughts]: [string[], string[]] = [[], []]
  for await (const { text, reasoning = '' } of stream) {
    if (text !== '') texts.push(text)
    if (reasoning !== '') thoughts.push(reasoning)
  }
  const { text, reasoning, usage, finishReason } = await stream.result
  expect(texts.join('')).toBe(text)
  expect(thoughts.join('')).toBe(reasoning ?? '')
  const { reasoningTokens, completionTokens } = usage
  return { text, reasoning, reasoningTokens, completionTokens, finishReason, texts, thoughts }
}

describe.each(Object.keys(TAGS) as TagKind[])('thoughts between tags that are %s', (kind) => {
  const [opening, closing] = kind === 'several tokens each' ? [2, 2] : [1, 1]

  it('are apart from the answer, and counted with their tags', async () => {
    const model = await modelSaying(']<think>Hm, so!</think>Yes.', kind)
    using chat = chatOf(model)
    const said = await say(chat)
    expect(said).toMatchObject({
      text: 'Yes.',
      reasoning: 'Hm, so!',
      reasoningTokens: opening + 6 + closing,
      completionTokens: opening + 6 + closing + 4,
      finishReason: 'stop',
    })
    expect(said.texts).toEqual(['Y', 'e', 's', '.'])
    expect(said.thoughts.length).toBeGreaterThan(4) // as they come
    expect(chat.messages).toEqual([
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Yes.', reasoning_content: 'Hm, so!' },
    ])
  })

  it('are switched off by an argument of the template', async () => {
    const model = await modelSaying(
      kind === 'several tokens each' ? 'ink>Yes.' : '</think>Yes.',
      kind,
    )
    using chat = chatOf(model, { templateArguments: { enable_thinking: false } })
    expect(await say(chat)).toMatchObject({ text: 'Yes.', reasoning: '', reasoningTokens: 0 })
    expect(chat.messages.at(-1)).toEqual({ role: 'assistant', content: 'Yes.' })
  })

  it('may be opened by the prompt', async () => {
    const begun = kind === 'several tokens each' ? 'nk>' : '<think>'
    const model = await modelSaying(`${begun}Hm!</think>Yes.`, kind)
    using chat = chatOf(model, { template: `${THINKING_TEMPLATE}<think>` })
    expect(await say(chat)).toMatchObject({
      text: 'Yes.',
      reasoning: 'Hm!',
      reasoningTokens: 3 + closing,
      completionTokens: 3 + closing + 4,
    })
  })
})

it('thoughts that are never closed are all that there is', async () => {
  using chat = chatOf(await modelSaying(']<think>Hm, so!'))
  expect(await say(chat)).toMatchObject({
    text: '',
    reasoning: 'Hm, so!',
    reasoningTokens: 7,
    completionTokens: 7,
    finishReason: 'stop',
  })
  expect(chat.messages.at(-1)).toEqual({
    role: 'assistant',
    content: '',
    reasoning_content: 'Hm, so!',
  })
})

it('a model that does not think this time only answers', async () => {
  using chat = chatOf(await modelSaying(']Yes.'))
  expect(await say(chat)).toMatchObject({ text: 'Yes.', reasoning: '', reasoningTokens: 0 })
})

it('without tags in its template, tags are text', async () => {
  const model = await modelSaying('>Hm.</think>Yes', 'tokens that are text')
  using chat = model.createChat({ template: lineTemplate() })
  const { usage, ...result } = await chat.send('Hi')
  expect(result.text).toBe('Hm.</think>Yes')
  expect(result).not.toHaveProperty('reasoning')
  expect(usage).not.toHaveProperty('reasoningTokens')
})

it('maxTokens may end them, and an answer', async () => {
  const model = await modelSaying(']<think>Hm, so!</think>Yes.')
  for (const [maxTokens, reasoning, text, reasoningTokens] of [
    [1, '', '', 1],
    [4, 'Hm,', '', 4],
    [5, 'Hm, s', '', 5],
    [7, 'Hm, so!', '', 7],
    [8, 'Hm, so!', '', 8],
    [10, 'Hm, so!', 'Ye', 8],
  ] as const) {
    using chat = chatOf(model)
    expect(await say(chat, { maxTokens })).toMatchObject({
      reasoning,
      text,
      reasoningTokens,
      completionTokens: maxTokens,
      finishReason: 'length',
    })
  }
})

it('a stop string ends them too, and a tag may be one', async () => {
  const model = await modelSaying(']<think>Hm, so!</think>Yes.', 'tokens that are text')
  for (const [stop, reasoning, text] of [
    ['so', 'Hm,', ''],
    ['</think>', 'Hm, so!', ''],
    ['!</think>Y', 'Hm, so', ''],
    ['es', 'Hm, so!', 'Y'],
    ['never', 'Hm, so!', 'Yes.'],
  ] as const) {
    using chat = chatOf(model)
    const said = await say(chat, { stop })
    expect(said, stop).toMatchObject({ reasoning, text, finishReason: 'stop' })
  }
})

it('a break while it thinks is a turn, whose thoughts a template may drop', async () => {
  using chat = chatOf(await modelSaying(']<think>Hm, so!</think>Yes.'))
  for await (const { reasoning } of chat.stream('Hi')) if (reasoning) break
  expect(chat.messages.at(-1)).toEqual({
    role: 'assistant',
    content: '',
    reasoning_content: 'H',
  })
  expect(await say(chat)).toMatchObject({ text: 'Yes.' })
})

it('a template that drops earlier thoughts goes back to the prompt of their turn', async () => {
  const model = await modelSaying(']<think>Hm, so!</think>Yes.')
  const prompts = recordPrompts(model)
  onTestFinished(() => void vi.restoreAllMocks())
  using chat = chatOf(model)
  const first = await chat.send('Hi')
  const next = await chat.send('Go')
  expect(model.tokenizer!.decode(prompts.at(-1)!, { skipSpecialTokens: false })).toBe(
    '[user]Hi;[assistant]Yes.;[user]Go;[assistant]',
  )
  expect(next.usage.cachedTokens).toBe(first.usage.promptTokens)
  expect(next).toMatchObject({ text: 'Yes.', reasoning: 'Hm, so!' })
})

it('a template that keeps thoughts goes on from them, with the tokens that were drawn', async () => {
  const model = await modelSaying(']<think>Hm,~ ~so!</think>Yip.')
  // The tokenizer would give fewer.
  const template =
    '{% for message in messages %}[{{ message.role }}]{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }};{% endfor %}[assistant]'
  using chat = chatOf(model, { template })
  const first = await chat.send('Hi')
  const next = await chat.send('Go')
  expect(next.usage.cachedTokens).toBe(first.usage.totalTokens)
})

describe('what an answer must look like', () => {
  const responseFormat = { type: 'regex', pattern: '[0-9]{2}' } as const

  it.each(Object.keys(TAGS) as TagKind[])(
    'is that of the answer, not of its thoughts: tags that are %s',
    async (kind) => {
      const begun = kind === 'several tokens each' ? 'nk>' : '<think>'
      const model = await modelSaying(`${begun}Hm!</think>Yes.`, kind)
      using chat = chatOf(model, { template: `${THINKING_TEMPLATE}<think>` })
      const { text, reasoning, finishReason } = await say(chat, { responseFormat })
      expect({ reasoning, finishReason }).toEqual({ reasoning: 'Hm!', finishReason: 'stop' })
      expect(text).toMatch(/^[0-9]{2}$/)
    },
  )

  it('is still to come where thoughts would end the text', async () => {
    // Behind its last token the model would end.
    const model = await modelSaying('<think>Hm!')
    using chat = chatOf(model, { template: `${THINKING_TEMPLATE}<think>` })
    const { text, reasoning, finishReason } = await say(chat, { responseFormat, maxTokens: 20 })
    expect({ text, finishReason }).toEqual({ text: '', finishReason: 'length' })
    expect(reasoning).toMatch(/^Hm!./s)
  })

  it('is that of all text where the prompt opened no thoughts', async () => {
    const model = await modelSaying('<think>Hm!</think>Yes.')
    using chat = chatOf(model)
    const { text, reasoning } = await say(chat, { responseFormat })
    expect(reasoning).toBe('')
    expect(text).toMatch(/^[0-9]{2}$/)
  })
})
