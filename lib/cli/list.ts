// ssm-metal list: the models in the cache of the Hub that this package can load.

import { bytesOf, type CachedRevision, cachedRevisions } from '../hub/cached-models.js'
import { openCheckpoint } from '../models/checkpoint.js'
import {
  CorruptFileError,
  ModelNotFoundError,
  UnsupportedArchitectureError,
} from '../support/errors.js'
import { formatBytes } from '../support/format.js'
import { cacheFrom, cacheOption } from './cache-option.js'
import { defineCommand } from './command.js'
import { exitCodes } from './program.js'

export const listCommand = defineCommand({
  name: 'list',
  aliases: ['ls'],
  summary: 'list the downloaded models that run here, with family and size',
  usage: '[--cache-dir DIR] [--json]',
  options: {
    ...cacheOption,
    json: { type: 'boolean', description: 'print one JSON array instead of a table' },
  },
  example: 'ssm-metal list',
  moreExamples: ['ssm-metal list --cache-dir /Volumes/models/hub --json'],
  async run({ options }) {
    const cache = cacheFrom(options)
    const described = await Promise.all((await cachedRevisions(cache)).map(describe))
    const models = described.filter(({ state }) => state !== 'other')
    if (options.json) {
      process.stdout.write(`${JSON.stringify(models)}\n`)
      return exitCodes.success
    }
    process.stdout.write(models.length === 0 ? '' : table(models))
    const others = described.length - models.length
    const total = formatBytes(bytesOf(await cachedRevisions(cache)))
    const rest = others === 0 ? '' : `; ${others} other ${others === 1 ? 'entry' : 'entries'}`
    const lead = models.length === 0 ? 'no models that run here' : String(models.length)
    process.stderr.write(`${lead} in ${cache}${rest}, ${total} in all\n`)
    return exitCodes.success
  },
})

interface ListedModel {
  readonly name: string
  /** A branch or tag that names the commit, or the commit. */
  readonly revision: string
  readonly commit: string
  /** `other`: not of a family that is known, or no model. */
  readonly state: 'complete' | 'incomplete' | 'other'
  readonly family: string | null
  readonly bytes: number
  readonly path: string
}

async function describe(revision: CachedRevision): Promise<ListedModel> {
  const { name, commit, references, path, files } = revision
  const facts = {
    name,
    commit,
    revision: references.find((reference) => reference === 'main') ?? references[0] ?? commit,
    bytes: bytesOf([revision]),
    path,
  }
  try {
    const { config } = await openCheckpoint(path)
    return { ...facts, state: 'complete', family: config.architecture }
  } catch (error) {
    const isKnown = [ModelNotFoundError, CorruptFileError, UnsupportedArchitectureError].some(
      (known) => error instanceof known,
    )
    if (!isKnown) throw error
    // A model that lacks its weights, and not the tokenizer of another one.
    const isPart = !(error instanceof UnsupportedArchitectureError) && files.has('config.json')
    return { ...facts, state: isPart ? 'incomplete' : 'other', family: null }
  }
}

function table(models: readonly ListedModel[]): string {
  const rows = models.map(({ name, revision, family, bytes }) => [
    revision === 'main' ? name : `${name}@${revision}`,
    family ?? 'incomplete: ssm-metal pull brings the rest',
    formatBytes(bytes),
  ])
  const width = (column: number) => Math.max(...rows.map((row) => row[column]!.length))
  const [nameWidth, familyWidth, sizeWidth] = [width(0), width(1), width(2)]
  return rows
    .sort(([a], [b]) => (a! < b! ? -1 : 1))
    .map(
      ([name, family, size]) =>
        `${name!.padEnd(nameWidth)}  ${family!.padEnd(familyWidth)}  ${size!.padStart(sizeWidth)}\n`,
    )
    .join('')
}
