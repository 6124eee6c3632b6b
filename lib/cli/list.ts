// ssm-metal list: the models in the cache of the Hub that this package can load.

import {
  bytesOf,
  type CachedRevision,
  cachedRevisions,
  unfinishedDownloads,
} from '../hub/cached-models.js'
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
    const revisions = await cachedRevisions(cache)
    const unfinished = await unfinishedDownloads(cache)
    const described = await Promise.all(revisions.map(describe))
    const models = [
      ...described.filter(({ state }) => state !== 'other'),
      ...unfinished.map((part) => ({ ...part, ...UNFINISHED })),
    ].sort((a, b) => (a.name < b.name ? -1 : 1))
    if (options.json) {
      process.stdout.write(`${JSON.stringify(models)}\n`)
      return exitCodes.success
    }
    process.stdout.write(models.length === 0 ? '' : table(models))
    const others = described.filter(({ state }) => state === 'other').length
    const unfinishedBytes = unfinished.reduce((sum, { bytes }) => sum + bytes, 0)
    const total = formatBytes(bytesOf(revisions) + unfinishedBytes)
    const rest = others === 0 ? '' : `; ${others} other ${others === 1 ? 'entry' : 'entries'}`
    const lead = models.length === 0 ? 'no models that run here' : String(models.length)
    process.stderr.write(`${lead} in ${cache}${rest}, ${total} in all\n`)
    return exitCodes.success
  },
})

interface ListedModel {
  readonly name: string
  /** A branch or tag that names the commit, or the commit; null before there is one. */
  readonly revision: string | null
  readonly commit: string | null
  /** `other`: not of a family that is known, or no model. */
  readonly state: 'complete' | 'incomplete' | 'other'
  readonly family: string | null
  readonly bytes: number
  readonly path: string
}

const UNFINISHED = { state: 'incomplete', family: null, revision: null, commit: null } as const

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
    revision === 'main' || revision === null ? name : `${name}@${revision}`,
    family ?? 'incomplete: ssm-metal pull brings the rest',
    formatBytes(bytes),
  ])
  const width = (column: number) => Math.max(...rows.map((row) => row[column]!.length))
  const [nameWidth, familyWidth, sizeWidth] = [width(0), width(1), width(2)]
  return rows
    .map(
      ([name, family, size]) =>
        `${name!.padEnd(nameWidth)}  ${family!.padEnd(familyWidth)}  ${size!.padStart(sizeWidth)}\n`,
    )
    .join('')
}
