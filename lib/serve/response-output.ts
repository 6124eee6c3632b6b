// The output of a response: its items, and the events that tell how they come about.

import { randomUUID } from 'node:crypto'
import type { WrittenCall } from './tools/call.js'

type Json = Record<string, unknown>

const newId = (kind: string) => `${kind}_${randomUUID().replaceAll('-', '')}`

/** An item that grows by text: an answer, or thoughts. */
const GROWING = {
  message: {
    id: 'msg',
    item: { role: 'assistant' },
    part: { type: 'output_text', annotations: [], logprobs: [] },
    event: 'response.output_text',
    more: { logprobs: [] },
  },
  reasoning: {
    id: 'rs',
    item: { summary: [] },
    part: { type: 'reasoning_text' },
    event: 'response.reasoning_text',
    more: {},
  },
} as const

type Kind = keyof typeof GROWING

/**
 * Each method returns the events of what it adds.
 *
 * @example
 * const output = new ResponseOutput()
 * output.add('message', 'Hello')
 * output.close()
 * output.items // [{ type: 'message', ... }]
 */
export class ResponseOutput {
  readonly items: Json[] = []
  #open: { kind: Kind; id: string; text: string } | undefined

  /** Text of an answer, or of thoughts. */
  add(kind: Kind, text: string): Json[] {
    if (text === '') return []
    const events = this.#open?.kind === kind ? [] : [...this.close(), ...this.#begin(kind)]
    const open = this.#open!
    open.text += text
    const { event, more } = GROWING[kind]
    events.push({ type: `${event}.delta`, ...this.#place(), delta: text, ...more })
    return events
  }

  call({ name, arguments: given }: WrittenCall): Json[] {
    const events = this.close()
    const text = JSON.stringify(given)
    const item = { id: newId('fc'), type: 'function_call', call_id: newId('call'), name }
    const output_index = this.items.length
    const place = { item_id: item.id, output_index }
    const done = { ...item, arguments: text, status: 'completed' }
    this.items.push(done)
    const begun = { ...item, arguments: '', status: 'in_progress' }
    return [
      ...events,
      { type: 'response.output_item.added', output_index, item: begun },
      { type: 'response.function_call_arguments.delta', ...place, delta: text },
      { type: 'response.function_call_arguments.done', ...place, name, arguments: text },
      { type: 'response.output_item.done', output_index, item: done },
    ]
  }

  /** Nothing is added to what was begun. */
  close(status: 'completed' | 'incomplete' = 'completed'): Json[] {
    const open = this.#open
    if (!open) return []
    const place = this.#place()
    const { text } = open
    const { event, part, more } = GROWING[open.kind]
    const whole = { ...part, text }
    const item = this.#item(open, status, [whole])
    this.#open = undefined
    this.items.push(item)
    return [
      { type: `${event}.done`, ...place, text, ...more },
      { type: 'response.content_part.done', ...place, part: whole },
      { type: 'response.output_item.done', output_index: place.output_index, item },
    ]
  }

  #begin(kind: Kind): Json[] {
    const open = { kind, id: newId(GROWING[kind].id), text: '' }
    this.#open = open
    const { output_index } = this.#place()
    const part = { ...GROWING[kind].part, text: '' }
    return [
      {
        type: 'response.output_item.added',
        output_index,
        item: this.#item(open, 'in_progress', []),
      },
      { type: 'response.content_part.added', ...this.#place(), part },
    ]
  }

  #item({ kind, id }: { kind: Kind; id: string }, status: string, content: object[]): Json {
    return { id, type: kind, status, ...GROWING[kind].item, content }
  }

  #place() {
    return { item_id: this.#open!.id, output_index: this.items.length, content_index: 0 }
  }
}
