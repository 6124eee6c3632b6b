// ssm-metal rm NAME: removes a model from the cache of the Hub.

import { createInterface } from 'node:readline/promises'
import { planRemoval } from '../hub/cached-models.js'
import { parseHubName } from '../hub/names.js'
import { formatBytes } from '../support/format.js'
import { cacheFrom, cacheOption } from './cache-option.js'
import { defineCommand, UsageError } from './command.js'
import { exitCodes } from './program.js'

export const rmCommand = defineCommand({
  name: 'rm',
  aliases: ['remove'],
  summary: 'delete a downloaded model; files that another revision uses stay',
  usage: 'NAME [--yes] [--cache-dir DIR]',
  options: {
    yes: { type: 'boolean', short: 'y', description: 'delete without asking' },
    ...cacheOption,
  },
  positionals: [
    {
      name: 'NAME',
      description: 'organisation/name with all its revisions, or organisation/name@revision',
      required: true,
    },
  ],
  example: 'ssm-metal rm state-spaces/mamba2-130m',
  moreExamples: ['ssm-metal rm --yes organisation/name@v2'],
  async run({ options, positionals }) {
    const word = positionals[0]!
    const parsed = parseHubName(word)
    if (typeof parsed === 'string' || parsed.file !== undefined) {
      throw new UsageError(
        `NAME must be organisation/name or organisation/name@revision, as ssm-metal list shows it, but is ${JSON.stringify(word)}`,
      )
    }
    const { name, revision } = parsed
    const removal = await planRemoval(cacheFrom(options), name, revision)
    const what = revision === undefined ? name : `${name}@${revision}`
    const size = formatBytes(removal.bytes)
    if (!options.yes && !(await isConfirmed(what, size))) {
      process.stderr.write('ssm-metal rm: nothing was deleted\n')
      return exitCodes.failure
    }
    await removal.remove()
    process.stderr.write(`ssm-metal rm: deleted ${what}, ${size}\n`)
    return exitCodes.success
  },
})

/** Asks on a terminal; where there is nobody to ask, it has to be said before. */
async function isConfirmed(what: string, size: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(
      `${what} (${size}) is deleted only with --yes where there is no terminal to ask on`,
    )
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  // Control-C and Control-D say no.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('\n')))
  try {
    const asked = terminal.question(`Delete ${what}, ${size}? [y/N] `)
    asked.catch(() => {})
    const answer = await Promise.race([asked, closed])
    if (answer === '\n') process.stderr.write(answer)
    return /^y(?:es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
