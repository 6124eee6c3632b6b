// A checkpoint's chat template: what makes a prompt of a conversation.

import {
  ChatTemplateError,
  NoChatTemplateError,
  UnsupportedOptionError,
} from '../support/errors.js'
import { IsolatedThread, ThreadLostError } from '../support/isolated-thread.js'
import type { OnNotice } from '../support/notices.js'
import { CHAT_TEMPLATE, type ChatTemplateOptions } from '../options/chat.js'
import { describe } from '../support/option-checks.js'
import { optionValue } from '../support/option-table.js'
import { messageOf } from '../support/realms.js'
import { readTokenizerSettings, specialTokenTexts } from '../tokenizer/special-tokens.js'
import { type ChatMessage, plainMessages, plainObjects, plainValue } from './messages.js'
import { LARGEST_TEMPLATE, readTemplates, type Templates } from './template-files.js'
import type { TemplateRequest } from './template-thread.js'

// What a template may take. Published ones take milliseconds.
const MOST_MS = 800
const MOST_MEMORY_MIB = 256
const LARGEST_INPUT = 16 * 1024 * 1024

// One for all templates: they take turns, and none holds it longer than the limit.
const thread = new IsolatedThread<TemplateRequest, string>({
  script: 'chat/template-thread',
  maxMemoryMiB: MOST_MEMORY_MIB,
})

/** Special tokens by the names that templates know: `bos_token`, `eos_token` and others. */
export type SpecialTokens = Readonly<Record<string, string>>

// Names of Python's options, and of what a template is given in any case.
const TAKEN: Record<string, string> = {
  add_generation_prompt: 'addGenerationPrompt',
  chat_template: 'template',
  messages: 'the first argument',
}

/**
 * The chat template, or templates, of a checkpoint. Templates come from the network: they run on a thread of their
 * own, for at most 0.8 seconds, and neither read files nor see anything but their arguments.
 *
 * @example
 * const template = await ChatTemplate.find(['models/granite'])
 * const prompt = await template.render([{ role: 'user', content: 'Hello' }], { addGenerationPrompt: true })
 */
export class ChatTemplate {
  readonly templates: Templates
  readonly specialTokens: SpecialTokens
  /** The file that it is from; undefined for a template of the caller's. */
  readonly source: string | undefined
  readonly #now: () => Date

  /** @param template A template's text, or several by name, of which `default` is used. */
  constructor(
    template: string | Templates,
    options: {
      specialTokens?: SpecialTokens | undefined
      source?: string | undefined
      /** @internal The time for strftime_now. */
      now?: (() => Date) | undefined
    } = {},
  ) {
    this.templates = typeof template === 'string' ? new Map([['default', template]]) : template
    this.specialTokens = options.specialTokens ?? {}
    this.source = options.source
    this.#now = options.now ?? (() => new Date())
    for (const text of this.templates.values()) checkTemplate('ChatTemplate', text)
  }

  /**
   * The template in the first of `folders` that has one; undefined where none has. A file that cannot be used is left
   * out with a notice.
   *
   * @example const template = await ChatTemplate.find(['models/granite'])
   */
  static async find(
    folders: readonly string[],
    options: { onNotice?: OnNotice | undefined; specialTokens?: SpecialTokens | undefined } = {},
  ): Promise<ChatTemplate | undefined> {
    for (const folder of new Set(folders)) {
      const found = await readTemplates(folder, options.onNotice)
      if (!found) continue
      const specialTokens = options.specialTokens ?? (await readSpecialTokens([folder]))
      return new ChatTemplate(found.templates, { specialTokens, source: found.source })
    }
    return undefined
  }

  /** The text of the template that is used where no tools are given. */
  get text(): string {
    return this.#selected('text', {})
  }

  /** Starts the thread that renders, which takes some ten milliseconds. */
  prepare(): void {
    thread.start()
  }

  /**
   * The prompt that the template makes of a conversation. Encode it with `addSpecialTokens: false`: templates write
   * special tokens themselves.
   *
   * @throws ChatTemplateError for a conversation that the template refuses, and for a template that fails or takes too long.
   * @throws UnsupportedOptionError for tools, documents or arguments that the template does not mention.
   * @example await template.render([{ role: 'user', content: 'Hello' }], { addGenerationPrompt: true })
   */
  async render(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): Promise<string> {
    return this.renderFor('render', messages, options)
  }

  /** @internal As `render`, with the operation's name for errors. */
  async renderFor(
    operation: string,
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
  ): Promise<string> {
    if (typeof options !== 'object' || options === null) {
      throw new TypeError(`[${operation}] options must be an object but is ${describe(options)}`)
    }
    const template = this.#selected(operation, options)
    const variables = variablesOf(operation, template, messages, options)
    const text = JSON.stringify({ ...this.specialTokens, ...variables })
    if (text.length > LARGEST_INPUT) {
      throw new RangeError(
        `[${operation}] the conversation must have at most ${LARGEST_INPUT} characters but has ${text.length}`,
      )
    }
    try {
      return await thread.ask({ template, variables: text, now: this.#now().getTime() }, MOST_MS)
    } catch (error) {
      throw readable(operation, error)
    }
  }

  /** As transformers chooses: `tool_use` where tools are given, else `default`. */
  #selected(operation: string, options: ChatTemplateOptions): string {
    const template = optionValue(operation, CHAT_TEMPLATE, 'template', options)
    const { tools } = options
    if (template !== undefined) {
      checkTemplate(operation, template)
      return this.templates.get(template) ?? template
    }
    const usual = this.templates.get('default')
    const selected = tools === undefined ? usual : (this.templates.get('tool_use') ?? usual)
    if (selected !== undefined) return selected
    throw new NoChatTemplateError(
      `[${operation}] this checkpoint has several chat templates and none is its default: ` +
        `give the option template one of ${[...this.templates.keys()].join(', ')}`,
    )
  }
}

/** The special tokens that the first of `folders` to name any does; a file that cannot be read names none. */
export async function readSpecialTokens(folders: readonly string[]): Promise<SpecialTokens> {
  for (const folder of new Set(folders)) {
    const settings = await readTokenizerSettings(folder).catch(() => undefined)
    const tokens = settings ? specialTokenTexts(settings) : {}
    if (Object.keys(tokens).length > 0) return tokens
  }
  return {}
}

function checkTemplate(operation: string, text: unknown): void {
  if (typeof text !== 'string' || text === '') {
    throw new TypeError(`[${operation}] a chat template must be a text but is ${describe(text)}`)
  }
  if (text.length > LARGEST_TEMPLATE) {
    throw new RangeError(
      `[${operation}] a chat template must have at most ${LARGEST_TEMPLATE} characters but has ${text.length}`,
    )
  }
}

function variablesOf(
  operation: string,
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
): Record<string, unknown> {
  const plain = plainMessages(operation, messages)
  const { tools, documents } = options
  const isBegun = optionValue(operation, CHAT_TEMPLATE, 'addGenerationPrompt', options)
  const objects = (name: 'tools' | 'documents', values: unknown) => {
    if (values === undefined) return null
    const list = plainObjects(operation, name, values)
    if (list.length > 0) checkMentioned(operation, template, name)
    return list
  }
  const variables: Record<string, unknown> = {
    messages: plain,
    tools: objects('tools', tools),
    documents: objects('documents', documents),
    add_generation_prompt: isBegun,
  }
  for (const [name, value] of Object.entries(options)) {
    if (Object.hasOwn(CHAT_TEMPLATE, name) || value === undefined) continue
    if (Object.hasOwn(TAKEN, name)) {
      throw new UnsupportedOptionError(`[${operation}] ${name} is called ${TAKEN[name]} here`)
    }
    checkMentioned(operation, template, name)
    variables[name] = plainValue(operation, name, value)
  }
  return variables
}

/** An argument that a template does not mention would change nothing. */
function checkMentioned(operation: string, template: string, name: string): void {
  if (/^\w+$/.test(name) && new RegExp(`\\b${name}\\b`).test(template)) return
  throw new UnsupportedOptionError(
    `[${operation}] the chat template has no ${JSON.stringify(name)}: it would change nothing. Leave it out`,
  )
}

function readable(operation: string, error: unknown): unknown {
  const message = messageOf(error)
  const { name } = error as Partial<Error>
  if (error instanceof ThreadLostError) {
    return new ChatTemplateError(`[${operation}] the chat template was stopped: ${message}`)
  }
  if (name === 'TemplateRefusal') {
    return new ChatTemplateError(
      `[${operation}] the template refuses this conversation: ${message.slice(0, 1000)}`,
    )
  }
  if (name === 'TemplateError') {
    return new ChatTemplateError(
      `[${operation}] the chat template cannot be used for this conversation: ${message.slice(0, 1000)}`,
    )
  }
  return error
}
