// Published chat templates: what they make of calls and their results, and that calls are read as they write them.
// Where the templates are from: test/fixtures/tool-templates/README.md.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ChatTemplate } from '../../lib/chat/chat-template.js'
import { chatMessages } from '../../lib/serve/chat-messages.js'
import { Fields } from '../../lib/serve/fields.js'
import { CallSplitter } from '../../lib/serve/tools/call-splitter.js'
import { callFormatOf, writtenCalls } from '../../lib/serve/tools/calls.js'
import { withWrittenCalls } from '../../lib/serve/tools/earlier-calls.js'
import { chatTools } from '../../lib/serve/tools/tool-request.js'
import type { Tokenizer } from '../../lib/tokenizer/tokenizer.js'
import { FIXTURES } from '../support/checkpoints.js'

interface Source {
  of: string
  license: string
  /** What stands around an answer. */
  turn: [begin: string, end: string]
  /** Of a template written for the test: from where on its text is that of the published one. */
  comparedFrom?: string
}
interface Call {
  id: string
  type: 'function'
  function: { name: string; arguments: Record<string, unknown> }
}
interface Conversation {
  messages: { role: string; content: string; tool_calls?: Call[] }[]
  tools: object[]
  arguments: Record<string, unknown>
}

const read = (name: string) => readFileSync(join(FIXTURES, 'tool-templates', name), 'utf8')
const sources = JSON.parse(read('sources.json')) as Record<string, Source>
const conversations = JSON.parse(read('conversations.json')) as Record<string, Conversation>
const expected = JSON.parse(read('expected.json')) as {
  now: [number, number, number, number, number, number]
  specialTokens: Record<string, string>
  templates: Record<string, { sha256: string; texts: Record<string, string> }>
}

// As Liquid's tokenizer has it: its template does not tell.
const liquid = {
  specialTokenId: (text: string) => (text === '<|tool_call_start|>' ? 10 : undefined),
} as Tokenizer

const CALLS = [
  { name: 'weather', arguments: { city: 'Rome', days: 3 } },
  {
    name: 'note',
    arguments: { text: 'two\nlines, "quoted" & é😀', done: true, more: { a: [1, { b: 'c' }] } },
  },
]

describe.each(Object.entries(sources))('%s', (name, { of, turn, comparedFrom = '' }) => {
  const text = read(name)
  const template = new ChatTemplate(text, {
    specialTokens: expected.specialTokens,
    now: () => new Date(...expected.now),
  })
  const format = callFormatOf(text, of.startsWith('LiquidAI/') ? liquid : undefined)!
  const { sha256, texts } = expected.templates[name]!

  it('is the one that was rendered, where it is whole', () => {
    const digest = createHash('sha256').update(text).digest('hex')
    expect(digest === sha256).toBe(comparedFrom === '')
  })

  it.each(Object.entries(conversations))(
    'gives the published prompt of a conversation %s',
    async (title, asked) => {
      const { messages, arguments: given, tools } = asked
      // As a client of OpenAI's sends it.
      const sent = messages.map((message) => ({
        ...message,
        content: message.content === '' ? null : message.content,
        ...(message.tool_calls && {
          tool_calls: message.tool_calls.map(({ function: called, ...call }) => ({
            ...call,
            function: { ...called, arguments: JSON.stringify(called.arguments) },
          })),
        }),
      }))
      const prompt = await template.render(
        withWrittenCalls(chatMessages(sent), text, of.startsWith('LiquidAI/') ? liquid : undefined),
        {
          ...Object.fromEntries(Object.entries(given).filter(([key]) => text.includes(key))),
          tools,
          addGenerationPrompt: true,
        },
      )
      expect(prompt.slice(prompt.indexOf(comparedFrom))).toBe(texts[title])
    },
  )

  it('has calls that are read back', () => {
    const { tools } = chatTools(new Fields({ tools: conversations.answered!.tools }))
    for (const prompt of Object.values(texts)) {
      const [begin, end] = turn
      const answer = prompt.split(begin)[1]!.split(end)[0]!
      const splitter = new CallSplitter(format, tools)
      const parts = [...Array.from(answer, (piece) => splitter.push(piece)), splitter.flush()]
      expect(parts.flatMap(({ calls }) => calls)).toEqual(CALLS)
      const said = parts
        .map((part) => part.text)
        .join('')
        .replace(/<think>.*?<\/think>/s, '')
      expect(['', 'I look.']).toContain(said.trim())
    }
  })

  it('has them as they are written where a template leaves them out', () => {
    // Values that are no strings are printed by Python between tags, and LFM2.5 has its own quotes.
    const calls = text.includes('<function=') ? CALLS.slice(0, 1) : CALLS
    const written = writtenCalls(format, calls)
    const quoted =
      name === 'lfm2.5.jinja' ? written.replace('"Rome"', "'Rome'").split('note(')[0]! : written
    for (const prompt of Object.values(texts)) expect(prompt).toContain(quoted)
  })
})
