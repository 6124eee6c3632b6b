// ssm-metal chat, and run NAME: a conversation in the terminal, or line by line from a pipe.

import { PLAIN_CHAT_TEMPLATE } from '../chat/plain-template.js'
import { GENERATION } from '../options/generation.js'
import type { Model } from '../model.js'
import { chatTemplateFrom, chatTemplateOption } from './chat-template-option.js'
import { Conversation } from './chat/conversation.js'
import { chatThroughPipe } from './chat/pipe.js'
import { chatInTerminal } from './chat/terminal.js'
import { defineCommand, type OptionTable, type OptionValues } from './command.js'
import { optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { modelOptions, samplingOptions } from './options.js'
import { repetitionPenalty } from './repetition-penalty.js'
import { loadIfThere } from './session-file.js'

const { model, ...loading } = modelOptions
const { 'max-tokens': maxTokens, ...sampling } = samplingOptions

const conversationOptions = {
  system: { type: 'string', description: 'the system message that the conversation begins with' },
  session: {
    type: 'string',
    placeholder: 'FILE',
    description: 'go on from the conversation in FILE, if there is one, and save it there',
  },
  ...chatTemplateOption,
  ...loading,
  // A person is there to stop an answer.
  'max-tokens': {
    ...maxTokens,
    description: 'end an answer after this many tokens',
    default: 2048,
  },
  ...sampling,
  verbose: { type: 'boolean', description: 'print tokens and speed after each answer' },
  json: {
    type: 'boolean',
    description: 'read a message a line, and print one JSON object for each answer',
  },
} as const satisfies OptionTable

type Values = OptionValues<typeof conversationOptions> & { readonly model: string | undefined }

const EXAMPLES = [
  'ssm-metal chat --system "Answer in one sentence." --temp 0.7',
  'echo "Why is the sky blue?" | ssm-metal chat -m ./granite-4.0-h-1b',
]

export const chatCommand = defineCommand({
  name: 'chat',
  summary: 'talk with a model',
  usage: '[-m MODEL] [options]',
  options: { model, ...conversationOptions },
  example: 'ssm-metal chat -m ./granite-4.0-h-1b',
  moreExamples: EXAMPLES,
  run: ({ options }) => talk(options),
})

export const runCommand = defineCommand({
  name: 'run',
  summary: 'download a model where it is not there yet, and talk with it',
  usage: 'NAME [options]',
  options: conversationOptions,
  positionals: [
    { name: 'NAME', description: 'organisation/name on the Hub, or a path', required: true },
  ],
  example: 'ssm-metal run ibm-granite/granite-4.0-h-350m',
  run: ({ options, positionals }) => talk({ ...options, model: positionals[0]! }),
})

async function talk(options: Values): Promise<number> {
  const template = chatTemplateFrom(options)
  return interruptible(async (signal) => {
    await using model = await loadFromOptions(options, signal)
    using conversation = new Conversation(model, conversationOf(model, template, options))
    const { session, verbose, json } = options
    if (session !== undefined) await loadIfThere(session, () => conversation.load(session))
    const isTerminal = process.stdin.isTTY && process.stdout.isTTY && !json
    const chat = isTerminal ? chatInTerminal : chatThroughPipe
    const code = await chat(conversation, { signal, verbose, json })
    if (session !== undefined) await conversation.save(session)
    return code
  })
}

function conversationOf(model: Model, given: string | undefined, options: Values) {
  const isPlain = given === PLAIN_CHAT_TEMPLATE || (given === undefined && !model.chatTemplate)
  if (isPlain && given === undefined) {
    process.stderr.write(
      'ssm-metal: the model has no chat template, as those that were not trained to chat: with --chat-template plain\n',
    )
  }
  const { stop, ...turn } = optionsOf(GENERATION, options)
  // A base model goes on with the next question.
  const stops = isPlain ? [...(stop ?? []), '\nUser:'] : stop
  return {
    chat: { system: options.system, template: isPlain ? PLAIN_CHAT_TEMPLATE : given },
    turn: { ...turn, stop: stops, repetitionPenalty: repetitionPenalty(options) },
  }
}
