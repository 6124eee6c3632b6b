// ssm-metal serve: OpenAI's API over HTTP.

import { once } from 'node:events'
import { MODEL_LOADING, PROMPT_CACHE } from '../options/loading.js'
import { SERVING } from '../options/serving.js'
import { serve } from '../serve/serve.js'
import { readSmallFile } from '../support/small-file.js'
import { chatTemplateFrom, chatTemplateOption } from './chat-template-option.js'
import { defineCommand, type OptionTable, type OptionValues, UsageError } from './command.js'
import { flagsOf, optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { modelOptions } from './options.js'
import { exitCodes } from './program.js'

// Far above what a key has.
const LARGEST_KEY = 4096
const DEFAULT_QUEUE = 128

const { host, port, 'max-tokens': maxTokens, ...serving } = flagsOf(SERVING)

const serveOptions = {
  host,
  port,
  'api-key-file': {
    type: 'string',
    placeholder: 'FILE',
    description: 'file with the key that clients need; or set SSM_METAL_API_KEY',
  },
  ...modelOptions,
  ...chatTemplateOption,
  'max-tokens': maxTokens,
  'max-streams': {
    type: 'integer',
    minimum: MODEL_LOADING.maxStreams.min,
    maximum: MODEL_LOADING.maxStreams.max,
    default: MODEL_LOADING.maxStreams.default,
    description: 'texts that run at once',
  },
  'max-queue': {
    type: 'integer',
    minimum: MODEL_LOADING.maxQueue.min,
    default: DEFAULT_QUEUE,
    description: 'texts that wait for a place; one more is told to come again',
  },
  'prompt-cache': {
    type: 'integer',
    minimum: PROMPT_CACHE.maxBytes.min,
    placeholder: 'BYTES',
    description:
      'memory for states of earlier prompts; 0 for none, by default an eighth of what is free',
  },
  ...serving,
} as const satisfies OptionTable

type Values = OptionValues<typeof serveOptions>

export const serveCommand = defineCommand({
  name: 'serve',
  summary: "serve a model over HTTP, as OpenAI's API",
  usage: '[-m MODEL] [--port N] [options]',
  options: serveOptions,
  example: 'ssm-metal serve -m ./granite-4.0-h-1b --alias granite',
  moreExamples: ['ssm-metal serve --chat-template plain --port 8081'],
  async run({ options }) {
    const apiKey = apiKeyOf(options)
    const chatTemplate = chatTemplateFrom(options)
    const { maxStreams, maxQueue, promptCache } = options
    const log = (message: string) => process.stderr.write(`ssm-metal serve: ${message}\n`)
    return interruptible(async (signal) => {
      const load = (signal: AbortSignal) =>
        loadFromOptions(options, signal, {
          chatTemplate,
          maxStreams,
          maxQueue,
          promptCache:
            promptCache === 0
              ? false
              : promptCache === undefined
                ? undefined
                : { maxBytes: promptCache },
        })
      const { model } = options
      const facts = { load, log, signal, model, places: maxStreams + maxQueue }
      const server = await serve(facts, { ...optionsOf(SERVING, options), apiKey })
      process.stdout.write(`${server.url}\n`)
      log(`${server.name} is served; Control-C stops`)
      if (!signal.aborted) await once(signal, 'abort')
      log('stopping: requests under way may end, and a second Control-C cuts them off')
      await server.stop()
      return exitCodes.success
    })
  },
})

/** The key of the file or the environment. Never of an argument, which every user of the machine can read. */
function apiKeyOf({ apiKeyFile, noAuth }: Values): string | undefined {
  const key =
    apiKeyFile === undefined
      ? process.env.SSM_METAL_API_KEY
      : readSmallFile(apiKeyFile, LARGEST_KEY)?.trim()
  if (apiKeyFile !== undefined && key === undefined) {
    throw new Error(`--api-key-file: there is no file ${apiKeyFile}`)
  }
  if (key === undefined) return undefined
  if (!/^[\x21-\x7e]+$/.test(key)) {
    const source = apiKeyFile ?? 'SSM_METAL_API_KEY'
    throw new Error(
      `the key in ${source} must be of printable ASCII characters without spaces, and is not`,
    )
  }
  if (noAuth)
    throw new UsageError('a key is set, and --no-auth would not ask for it: leave one out')
  return key
}
