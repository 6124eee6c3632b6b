// ssm-metal pull NAME: a model of the Hub, into the cache that all its clients share.

import { pullModel } from '../fetch-model.js'
import type { DownloadProgress } from '../hub/transfer-rate.js'
import { formatBytes, formatDuration } from '../support/format.js'
import { cacheOption } from './cache-option.js'
import { defineCommand } from './command.js'
import { interruptible } from './interrupt.js'
import { showNotice } from './notice.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

/** Milliseconds between two lines where there is no terminal. */
const LINE_INTERVAL = 30_000

export const pullCommand = defineCommand({
  name: 'pull',
  aliases: ['download'],
  summary: 'download a model from the Hugging Face Hub, or what is missing of it',
  usage: 'NAME [--revision REVISION] [options]',
  options: {
    revision: {
      type: 'string',
      placeholder: 'REVISION',
      description: "branch, tag or commit; by default the name's own, or main",
    },
    'tokenizer-only': {
      type: 'boolean',
      description: 'fetch the tokenizer and the chat template, not the weights',
    },
    ...cacheOption,
    json: { type: 'boolean', description: 'print one JSON object instead of a path' },
  },
  positionals: [
    { name: 'NAME', description: 'organisation/name on the Hub, or its address', required: true },
  ],
  example: 'ssm-metal pull state-spaces/mamba2-130m',
  moreExamples: [
    'ssm-metal pull ibm-granite/granite-4.0-h-350m@main',
    'ssm-metal pull --tokenizer-only EleutherAI/gpt-neox-20b',
    'HF_TOKEN=hf_... ssm-metal pull organisation/gated-model',
    'HTTPS_PROXY=http://proxy:3128 ssm-metal pull tiiuae/Falcon-H1-0.5B-Instruct',
  ],
  async run({ options, positionals }) {
    const { revision, cacheDir, tokenizerOnly } = options
    return interruptible(async (signal) => {
      const display = new DownloadDisplay()
      try {
        const pulled = await pullModel(
          positionals[0]!,
          {
            revision,
            cacheDir,
            signal,
            onProgress: (progress) => display.update(progress),
            onNotice(notice) {
              display.clear()
              showNotice(notice)
            },
          },
          tokenizerOnly ? 'tokenizer' : 'model',
        )
        display.done()
        const { path, tokenizerPath = null } = pulled
        process.stdout.write(
          options.json ? `${JSON.stringify({ path, tokenizerPath })}\n` : `${path}\n`,
        )
        return exitCodes.success
      } catch (error) {
        display.clear()
        if (signal.aborted) {
          process.stderr.write(
            'ssm-metal pull: stopped; what has arrived is kept, and the same command goes on from there\n',
          )
        }
        throw error
      }
    })
  },
})

/** A line that is drawn over on a terminal; elsewhere one every half minute, and one at the end. */
class DownloadDisplay {
  readonly #line = new ProgressLine()
  readonly #start = performance.now()
  #lastLine = performance.now()
  #arrived = 0
  #last: DownloadProgress | undefined

  update(progress: DownloadProgress): void {
    const { loaded, total, bytesPerSecond, secondsLeft } = progress
    // Of the model, then of its tokenizer; what was there when one began did not arrive.
    if (this.#last?.total === total) this.#arrived += loaded - this.#last.loaded
    this.#last = progress
    this.#line.update({ phase: 'download', ...progress })
    const now = performance.now()
    if (process.stderr.isTTY || now - this.#lastLine < LINE_INTERVAL) return
    this.#lastLine = now
    const percent = Math.floor((loaded / Math.max(1, total)) * 100)
    const rate = bytesPerSecond === undefined ? '' : `, ${formatBytes(bytesPerSecond)}/s`
    const left = secondsLeft === undefined ? '' : `, ${formatDuration(secondsLeft * 1000)} left`
    process.stderr.write(
      `ssm-metal pull: ${percent}%, ${formatBytes(loaded)} of ${formatBytes(total)}${rate}${left}\n`,
    )
  }

  clear(): void {
    this.#line.clear()
  }

  done(): void {
    this.clear()
    const text =
      this.#last === undefined
        ? 'everything was there'
        : `done: ${formatBytes(this.#arrived)} in ${formatDuration(performance.now() - this.#start)}`
    process.stderr.write(`ssm-metal pull: ${text}\n`)
  }
}
