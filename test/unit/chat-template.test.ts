// Chat templates: where they are found, what callers may give them, what hostile ones come to.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ChatTemplate } from '../../lib/chat/chat-template.js'
import type { ChatTemplateOptions } from '../../lib/options/chat.js'
import { findChatTemplate } from '../../lib/chat/find.js'
import type { ChatMessage } from '../../lib/chat/messages.js'
import { PLAIN_CHAT_TEMPLATE } from '../../lib/chat/plain-template.js'
import {
  ChatTemplateError,
  NoChatTemplateError,
  UnsupportedOptionError,
} from '../../lib/support/errors.js'
import { loadModel } from '../../lib/load-model.js'
import type { Notice } from '../../lib/support/notices.js'
import { fixture } from '../support/checkpoints.js'
import { seededIntegers } from './random.js'

let root = ''
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'templates-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

/** A folder with files; objects are written as JSON. */
async function folderOf(files: Record<string, string | object>): Promise<string> {
  const folder = await mkdtemp(join(root, 'model-'))
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  }
  return folder
}

async function find(files: Record<string, string | object>) {
  const notices: Notice[] = []
  const onNotice = (notice: Notice) => notices.push(notice)
  const template = await ChatTemplate.find([await folderOf(files)], { onNotice })
  return { template, notices }
}

const HELLO: ChatMessage[] = [{ role: 'user', content: 'Hello' }]
const render = (text: string, messages = HELLO, options: ChatTemplateOptions = {}) =>
  new ChatTemplate(text).render(messages, options)
/** What callers may do wrong in JavaScript. */
const wrongly = (text: string, messages: unknown, options: unknown = {}) =>
  render(text, messages as ChatMessage[], options as ChatTemplateOptions)

describe('finding a template', () => {
  const config = { chat_template: 'config', eos_token: { content: '</s>' }, bos_token: '<s>' }

  it.each([
    [
      'its own file first',
      { 'chat_template.jinja': 'file', 'tokenizer_config.json': config },
      'file',
    ],
    [
      'then the configuration',
      { 'tokenizer_config.json': config, 'chat_template.json': { chat_template: 'json' } },
      'config',
    ],
    [
      'then chat_template.json',
      { 'tokenizer_config.json': {}, 'chat_template.json': { chat_template: 'json' } },
      'json',
    ],
  ])('takes %s', async (_, files, text) => {
    const { template, notices } = await find(files)
    expect(template?.text).toBe(text)
    expect(notices).toEqual([])
  })

  it('is none where there is none', async () => {
    expect(
      (await find({ 'tokenizer_config.json': { chat_template: null } })).template,
    ).toBeUndefined()
    expect(await ChatTemplate.find([join(root, 'missing')])).toBeUndefined()
  })

  it('reads special tokens, as texts or objects', async () => {
    const { template } = await find({ 'tokenizer_config.json': { ...config, pad_token: null } })
    expect(template?.specialTokens).toEqual({ bos_token: '<s>', eos_token: '</s>' })
  })

  it('lets special_tokens_map.json go first beside a configuration without its tokens', async () => {
    const map = { eos_token: '<end>', unk_token: { content: '<unk>' } }
    const files = { 'tokenizer_config.json': config, 'special_tokens_map.json': map }
    const tokens = { bos_token: '<s>', eos_token: '<end>', unk_token: '<unk>' }
    expect((await find(files)).template?.specialTokens).toEqual(tokens)
    const newer = { ...files, 'tokenizer_config.json': { ...config, added_tokens_decoder: {} } }
    expect((await find(newer)).template?.specialTokens).toMatchObject({ eos_token: '</s>' })
  })

  it('chooses among several as transformers does', async () => {
    const list = [
      { name: 'default', template: 'usual' },
      { name: 'tool_use', template: 'with {{ tools | length }}' },
      { name: 'rag', template: 'of documents' },
    ]
    const { template } = await find({ 'tokenizer_config.json': { chat_template: list } })
    expect(await template!.render(HELLO)).toBe('usual')
    expect(await template!.render(HELLO, { tools: [{ name: 'f' }] })).toBe('with 1')
    expect(await template!.render(HELLO, { template: 'rag' })).toBe('of documents')
    expect(await template!.render(HELLO, { template: '{{ messages[0].role }}' })).toBe('user')
    const files = {
      'chat_template.jinja': 'usual',
      'additional_chat_templates/tool_use.jinja': 'tools: {{ tools }}',
      'additional_chat_templates/notes.txt': 'no template',
    }
    const other = (await find(files)).template!
    expect([...other.templates.keys()]).toEqual(['default', 'tool_use'])
    expect(await other.render(HELLO, { tools: [] })).toBe('tools: []')
  })

  it('says which there are when none is the default', async () => {
    const list = [
      { name: 'a', template: 'x' },
      { name: 'b', template: 'y' },
    ]
    const { template } = await find({ 'tokenizer_config.json': { chat_template: list } })
    await expect(template!.render(HELLO)).rejects.toThrow(NoChatTemplateError)
    await expect(template!.render(HELLO)).rejects.toThrow(/one of a, b/)
    expect(await template!.render(HELLO, { template: 'b' })).toBe('y')
  })

  it.each<[string, Record<string, string | object>, RegExp]>([
    [
      'a number',
      { 'tokenizer_config.json': { chat_template: 5 } },
      /must be a text or a list of .* but has 5/,
    ],
    ['a list of texts', { 'tokenizer_config.json': { chat_template: ['x'] } }, /but has "x"/],
    ['no JSON', { 'tokenizer_config.json': '{' }, /must be JSON/],
    [
      'a huge file',
      { 'chat_template.jinja': 'x'.repeat(2 ** 20 + 1) },
      /is larger than 1048576 bytes/,
    ],
    [
      'a huge text',
      { 'tokenizer_config.json': { chat_template: 'x'.repeat(2 ** 20 + 1) } },
      /at most 1048576 characters/,
    ],
    ['a folder', { 'chat_template.jinja/x': '' }, /is not a file/],
  ])('leaves %s out with a notice', async (_, files, says) => {
    const { template, notices } = await find(files)
    expect(template).toBeUndefined()
    expect(notices).toEqual([{ code: 'FILE_NOT_USED', message: expect.stringMatching(says) }])
  })

  it('looks beside the tokenizer first, then beside the weights', async () => {
    const weights = await folderOf({ 'chat_template.jinja': 'weights' })
    const tokenizer = await folderOf({ 'chat_template.jinja': 'tokenizer' })
    const textOf = async (tokenizerFolder: string | undefined) =>
      (await findChatTemplate({ folder: weights, tokenizerFolder, problem: undefined }, {}))
        .template?.text
    expect(await textOf(tokenizer)).toBe('tokenizer')
    expect(await textOf(await folderOf({}))).toBe('weights')
    expect(await textOf(undefined)).toBe('weights')
  })
})

describe('a model', () => {
  it('says that it has no template, and takes one', async () => {
    await using model = await loadModel(fixture('rene'), { device: 'cpu' })
    expect(model.chatTemplate).toBeUndefined()
    const refused = model.applyChatTemplate(HELLO)
    await expect(refused).rejects.toThrow(NoChatTemplateError)
    await expect(refused).rejects.toThrow(/PLAIN_CHAT_TEMPLATE/)
    const options = { template: PLAIN_CHAT_TEMPLATE, addGenerationPrompt: true }
    expect(await model.applyChatTemplate(HELLO, options)).toBe('User: Hello\nAssistant:')
  })

  it('takes one when it is loaded', async () => {
    const chatTemplate = '{{ messages[0].content }}!'
    await using model = await loadModel(fixture('rene'), { device: 'cpu', chatTemplate })
    expect(await model.applyChatTemplate(HELLO)).toBe('Hello!')
    expect(model.chatTemplate?.text).toBe(chatTemplate)
    model.dispose()
    await expect(model.applyChatTemplate(HELLO)).rejects.toThrow(/was disposed/)
  })

  it('refuses an empty one', async () => {
    const loading = loadModel(fixture('rene'), { device: 'cpu', chatTemplate: '' })
    await expect(loading).rejects.toThrow(/must be a text/)
  })
})

describe('what callers give', () => {
  const text =
    '{{ messages | tojson }}{{ tools }}{{ documents }}{{ enable_thinking }}{{ add_generation_prompt }}'

  it('reaches the template, without fields that are null or undefined', async () => {
    const messages = [
      { role: 'user', content: null, name: undefined, extra: { a: [1, 2.5, null] } },
    ]
    expect(await render('{{ messages | tojson }}', messages)).toBe(
      '[{"role": "user", "extra": {"a": [1, 2.5, null]}}]',
    )
    expect(await render(text, HELLO, { enable_thinking: false, addGenerationPrompt: true })).toBe(
      '[{"role": "user", "content": "Hello"}]NoneNoneFalseTrue',
    )
  })

  it('has its reasoning under each name, as in transformers', async () => {
    const messages = [{ role: 'assistant', content: '', reasoning: 'r' }]
    expect(await render('{{ messages[0] | tojson }}', messages)).toBe(
      '{"thinking": "r", "role": "assistant", "content": "", "reasoning": "r", "reasoning_content": "r"}',
    )
  })

  it('stays as it is', async () => {
    const freeze = (value: unknown): unknown => {
      if (typeof value === 'object' && value !== null) Object.values(value).forEach(freeze)
      return Object.freeze(value)
    }
    const messages = [{ role: 'assistant', content: [{ type: 'text', text: 'a' }], thinking: 't' }]
    freeze(messages)
    const copy = structuredClone(messages)
    await render(text, messages, freeze({ tools: [{ a: {} }] }) as ChatTemplateOptions)
    expect(messages).toEqual(copy)
  })

  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  it.each<[string, unknown, unknown, RegExp]>([
    ['no list', 'Hello', {}, /messages must be a list .* but is "Hello"/],
    ['nothing', [], {}, /at least one message/],
    ['no message', [HELLO[0], null], {}, /message 1 must be \{ role, content \} but is null/],
    ['no role', [{ content: 'x' }], {}, /the role of message 0 must be a text/],
    [
      'a role that is no text',
      [{ role: 1 }],
      {},
      /the role of message 0 must be a text .* but is 1/,
    ],
    [
      'a content that is a number',
      [{ role: 'user', content: 5 }],
      {},
      /the content of message 0 .* but is 5/,
    ],
    [
      'a part without type',
      [{ role: 'user', content: ['x'] }],
      {},
      /part 0 of the content of message 0/,
    ],
    [
      'a function',
      [{ role: 'user', f: () => 1 }],
      {},
      /f in message 0 must be a value that JSON has but is a function/,
    ],
    [
      'a class',
      [{ role: 'user', a: { b: [new Date()] } }],
      {},
      /a\.b\[0\] in message 0 must be a plain object/,
    ],
    ['NaN', [{ role: 'user', a: NaN }], {}, /a in message 0 must be a finite number/],
    ['a bigint', [{ role: 'user', a: 1n }], {}, /must be a value that JSON has but is 1n/],
    ['a cycle', [{ role: 'user', a: cycle }], {}, /at most 64 levels deep/],
    ['no options', HELLO, null, /options must be an object/],
    [
      'tools that are no list',
      HELLO,
      { tools: {} },
      /tools must be a list of objects but is an object/,
    ],
    [
      'a tool that is a text',
      HELLO,
      { tools: ['x'] },
      /item 0 of tools must be an object but is "x"/,
    ],
    ['documents that are no objects', HELLO, { documents: [1] }, /item 0 of documents/],
    [
      'a wrong flag',
      HELLO,
      { addGenerationPrompt: 'yes' },
      /addGenerationPrompt must be true or false/,
    ],
    [
      'an argument that is a function',
      HELLO,
      { enable_thinking: () => 1 },
      /enable_thinking must be a value/,
    ],
    ['a template that is no text', HELLO, { template: 5 }, /template must be a string/],
  ])('is an error: %s', async (_, messages, options, says) => {
    await expect(wrongly(text, messages, options)).rejects.toThrow(says)
    await expect(wrongly(text, messages, options)).rejects.toThrow(/^\[render/)
  })

  it('must change something', async () => {
    for (const options of [{ tools: [{}] }, { documents: [{}] }, { enable_thinking: true }]) {
      await expect(render('x', HELLO, options)).rejects.toThrow(UnsupportedOptionError)
      await expect(render('x', HELLO, options)).rejects.toThrow(/would change nothing/)
    }
    // A longer name is another one.
    await expect(
      render('{{ enable_thinking_twice }}', HELLO, { enable_thinking: true }),
    ).rejects.toThrow(UnsupportedOptionError)
    for (const name of ['add_generation_prompt', 'messages', 'chat_template']) {
      await expect(render(text, HELLO, { [name]: true })).rejects.toThrow(/is called .* here/)
    }
    expect(await render('x', HELLO, { tools: [], documents: undefined, b: undefined })).toBe('x')
  })

  it('has an end', async () => {
    const long = [{ role: 'user', content: 'x'.repeat(2 ** 24) }]
    await expect(render('x', long)).rejects.toThrow(/at most 16777216 characters/)
  })

  it('is not more than a template is for', async () => {
    expect(() => new ChatTemplate('x'.repeat(2 ** 20 + 1))).toThrow(/at most 1048576 characters/)
    await expect(render('x', HELLO, { template: '' })).rejects.toThrow(/must be a text/)
  })
})

describe('a template', () => {
  it('has the line ends of Python', async () => {
    expect(await render('a\r\nb\rc{% if true %}\r\nd{% endif %}')).toBe('a\nb\ncd')
  })

  it('has the hours of a clock with twelve', async () => {
    const now = (hour: number) => () => new Date(2025, 0, 1, hour)
    const at = (hour: number) =>
      new ChatTemplate("{{ strftime_now('%I%p %l%P') }}", { now: now(hour) }).render(HELLO)
    expect([await at(0), await at(12), await at(13)]).toEqual([
      '12AM 12am',
      '12PM 12pm',
      '01PM  1pm',
    ])
  })
})

describe('hostile templates', () => {
  const grow = (start: string, step: string) =>
    `{% set ns = namespace(x=${start}) %}{% for i in range(100000) %}{% set ns.x = ${step} %}{% endfor %}{{ ns.x | length }}`
  it.each([
    [
      'an endless loop',
      '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}',
      /took longer than 800 ms/,
    ],
    [
      'a huge range',
      '{% for i in range(10**9) %}{% endfor %}',
      /a range of more than 100000 items/,
    ],
    [
      'a text that doubles',
      grow("'aaaaaaaa'", 'ns.x ~ ns.x'),
      /a text of more than 16777216 characters/,
    ],
    ['a text that doubles by +', grow("'aaaaaaaa'", 'ns.x + ns.x'), /a text of more than/],
    ['a text that is multiplied', "{{ 'a' * 10**9 }}", /a text of more than/],
    ['a text that is replaced', grow("'a'", "ns.x | replace('a', 'aaaa')"), /a text of more than/],
    [
      'a text that is joined',
      grow("'a'", '(ns.x, ns.x) | join(ns.x[:1000])'),
      /a text of more than/,
    ],
    [
      'a text that is indented',
      grow("'a\\n\\n'", 'ns.x | indent(1000, true, true)'),
      /a text of more than/,
    ],
    ['a wide number', "{{ '%999999999d' % 1 }}", /a text of more than/],
    ['a wide centre', "{{ 'a' | center(10**9) }}", /a text of more than/],
    ['JSON with wide margins', '{{ [[[[1]]]] | tojson(indent=10**8) }}', /a text of more than/],
    ['a list that doubles', grow('[1]', 'ns.x + ns.x'), /a list of more than 1048576 items/],
    ['a list that is multiplied', '{{ [0] * 10**9 }}', /a list of more than/],
    [
      'lists in lists',
      `${grow('[1]', '[ns.x, ns.x]')}{{ ns.x }}`,
      /nests, or calls itself, too deeply|a text of more than|took longer/,
    ],
    [
      'a macro that calls itself',
      '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
      /nests, or calls itself, too deeply/,
    ],
    [
      'much output',
      `{% for i in range(99999) %}{{ '${'a'.repeat(999)}' }}{% endfor %}`,
      /a text of more than/,
    ],
    ['a huge number', '{{ 9**9**9 }}', /counts beyond 2\^53/],
    ['deep parentheses', `{{ ${'('.repeat(200_000)}1`, /cannot be read/],
    ['many spaces', `${' '.repeat(900_000)}x`, /took longer/],
    ['no end', '{% if true %}', /cannot be read/],
    ['its own class', "{{ ''.__class__.__mro__ }}", /has no attribute '__class__'/],
    [
      'a constructor',
      "{{ ''.constructor.constructor('return process')() }}",
      /has no attribute 'constructor'/,
    ],
    ['a prototype', '{{ {}.__proto__.x }}', /has no attribute '__proto__'/],
    [
      'a change',
      '{{ messages.append(1) }}',
      /access to attribute 'append' of 'list' object is unsafe/,
    ],
  ])('end: %s', async (_, text, says) => {
    const result = render(text)
    await expect(result).rejects.toThrow(ChatTemplateError)
    // A busy machine may take longer to come to its other limit.
    const error = await result.catch((thrown: Error) => thrown.message)
    expect(error).toMatch(new RegExp(`${says.source}|took longer than 800 ms`))
    expect(await render('{{ messages[0].content }}')).toBe('Hello')
  })

  it('leave the event loop alone', async () => {
    let turns = 0
    const timer = setInterval(() => (turns += 1), 10)
    await expect(
      render('{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}'),
    ).rejects.toThrow(/took longer/)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(5)
  })

  it('keep what they say short', async () => {
    const error = await render("{{ raise_exception('x' * 100000) }}").catch(
      (thrown: Error) => thrown,
    )
    expect(error).toBeInstanceOf(ChatTemplateError)
    expect((error as Error).message.length).toBeLessThan(1200)
  })
})

describe('the plain template', () => {
  const plain = (messages: ChatMessage[], eos?: string, options: ChatTemplateOptions = {}) =>
    new ChatTemplate(PLAIN_CHAT_TEMPLATE, {
      specialTokens: eos === undefined ? {} : { eos_token: eos },
    }).render(messages, options)
  const conversation: ChatMessage[] = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: ' Hello! ' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'How' },
        { type: 'text', text: ' so?' },
      ],
    },
  ]

  it('writes lines', async () => {
    expect(await plain(conversation, undefined, { addGenerationPrompt: true })).toBe(
      'Be kind.\n\nUser: Hi\nAssistant: Hello! \nUser: How so?\nAssistant:',
    )
    expect(await plain(conversation, '</s>')).toBe(
      'Be kind.\n\nUser: Hi\nAssistant: Hello! </s>User: How so?\n',
    )
    expect(await plain([{ role: 'assistant', content: null }])).toBe('Assistant:\n')
  })

  it('begins with what an answer was generated for, whatever the answer', async () => {
    const below = seededIntegers(3)
    const pieces = [
      '',
      ' ',
      '\n',
      'a',
      '</s>',
      'User: ',
      '{{ x }}',
      '{% if %}',
      'é😀',
      '\t ',
      '<b>',
      '\r\n',
    ]
    const text = () => Array.from({ length: below(5) }, () => pieces[below(pieces.length)]).join('')
    for (let round = 0; round < 100; round++) {
      const messages: ChatMessage[] = below(2) ? [{ role: 'system', content: text() }] : []
      messages.push({ role: 'user', content: text() })
      const eos = below(2) ? '</s>' : undefined
      for (let turn = 0; turn < 3; turn++) {
        const prompt = await plain(messages, eos, { addGenerationPrompt: true })
        const answer = text()
        messages.push({ role: 'assistant', content: answer }, { role: 'user', content: text() })
        expect((await plain(messages, eos)).startsWith(prompt + answer)).toBe(true)
      }
    }
  })

  it.each([
    [{ role: 'tool', content: 'x' }, /the role tool is none of system, user and assistant/],
    [{ role: 'user', content: [{ type: 'image' }] }, /a part of type image is no text/],
  ])('refuses what it cannot write', async (message, says) => {
    await expect(plain([message])).rejects.toThrow(/the template refuses this conversation/)
    await expect(plain([message])).rejects.toThrow(says)
    await expect(plain([message])).rejects.toMatchObject({ code: 'ERR_CHAT_TEMPLATE' })
  })
})
