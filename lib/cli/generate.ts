// ssm-metal generate

import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { GenerateResult } from '../generation/generate.js'
import type { ResponseFormat } from '../grammar/response-format.js'
import type { Model } from '../model.js'
import type { Session } from '../sessions/session.js'
import { GENERATION } from '../options/generation.js'
import { readSmallFile } from '../support/small-file.js'
import { defineCommand, type OptionValues, UsageError } from './command.js'
import { formatBytes } from '../support/format.js'
import { optionsOf } from './flags.js'
import { harmless } from './harmless.js'
import { interruptible, OutputClosedError } from './interrupt.js'
import { loadFromOptions } from './load.js'
import { generateOptions } from './options.js'
import { exitCodes } from './program.js'
import { repetitionPenalty } from './repetition-penalty.js'
import { loadIfThere } from './session-file.js'

type GenerateValues = OptionValues<typeof generateOptions>

export const generateCommand = defineCommand({
  name: 'generate',
  summary: 'continue a text',
  usage: '[-m MODEL] -p PROMPT [options]',
  options: generateOptions,
  example: 'ssm-metal generate -m ./mamba2-130m -p "Once upon a time" -n 100 --temp 0.8',
  async run({ options }) {
    if (options.prompt === undefined)
      throw new UsageError('no prompt given: add -p PROMPT, or -p -')
    const responseFormat = responseFormatOf(options)
    return interruptible(async (signal) => {
      const prompt =
        options.prompt === '-' ? await text(addAbortSignal(signal, process.stdin)) : options.prompt!
      await using model = await loadFromOptions(options, signal, {
        promptCache: false, // there is no second prompt
      })
      const file = options.session
      await using session = file === undefined ? undefined : await sessionOf(model, file)
      const stream = (session ?? model).stream(prompt, {
        ...optionsOf(GENERATION, options),
        repetitionPenalty: repetitionPenalty(options),
        responseFormat,
        signal,
      })
      let interrupted = false
      try {
        for await (const { text } of stream) {
          if (!options.json) process.stdout.write(process.stdout.isTTY ? harmless(text) : text)
        }
      } catch (error) {
        if (!signal.aborted) throw error
        interrupted = true
      }
      const result = stream.partial
      const isClosed = signal.reason instanceof OutputClosedError
      if (!isClosed)
        process.stdout.write(options.json ? `${JSON.stringify({ prompt, ...result })}\n` : '\n')
      // However the text ended, the session goes on from there.
      await session?.save(file!)
      if (isClosed) return exitCodes.success
      if (options.verbose) process.stderr.write(summary(result))
      return interrupted ? exitCodes.interrupted : exitCodes.success
    })
  },
})

// A schema may have 65,536 characters, without the white space that a file has.
const MAX_SCHEMA_BYTES = 2 ** 20

/** Read before the model is, which takes longer. */
function responseFormatOf({ jsonSchema, regex }: GenerateValues): ResponseFormat | undefined {
  if (jsonSchema === undefined) {
    return regex === undefined ? undefined : { type: 'regex', pattern: regex }
  }
  if (regex !== undefined) throw new UsageError('give --json-schema or --regex, not both')
  const text = readSmallFile(jsonSchema, MAX_SCHEMA_BYTES)
  if (text === undefined) throw new Error(`--json-schema: there is no file ${jsonSchema}`)
  try {
    return { type: 'json_schema', schema: JSON.parse(text) }
  } catch (error) {
    throw new Error(`--json-schema ${jsonSchema}: is no JSON: ${(error as Error).message}`)
  }
}

/** The session in a file; a new one where there is no file yet. */
async function sessionOf(model: Model, file: string): Promise<Session> {
  return (await loadIfThere(file, () => model.loadSession(file))) ?? model.createSession()
}

// In the form that users of mlx_lm.generate know.
function summary({ usage, timings, finishReason }: GenerateResult): string {
  const { promptTokens, completionTokens } = usage
  return [
    '==========',
    `Load: ${(timings.loadMs / 1000).toFixed(3)} s`,
    `Prompt: ${promptTokens} tokens, ${timings.promptTokensPerSecond.toFixed(3)} tokens-per-sec`,
    `Time to first token: ${timings.timeToFirstTokenMs.toFixed(1)} ms`,
    `Generation: ${completionTokens} tokens, ${timings.generationTokensPerSecond.toFixed(3)} tokens-per-sec (${finishReason})`,
    `Peak memory: ${formatBytes(timings.peakMemoryBytes)}`,
    '',
  ].join('\n')
}
