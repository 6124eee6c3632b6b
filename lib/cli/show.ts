// ssm-metal show MODEL: what a checkpoint is, from its configuration and headers alone.

import { basename } from 'node:path'
import { findChatTemplate } from '../chat/find.js'
import { createDevice } from '../operations/create-device.js'
import { AddonNotFoundError } from '../support/errors.js'
import { resolveModelPath } from '../hub/cache.js'
import { defaultPromptCacheBytes } from '../load-model.js'
import { describeNeeds, memoryNeeds } from '../memory/needs.js'
import { type Checkpoint, openCheckpoint } from '../models/checkpoint.js'
import { blockKind, type LayerConfig } from '../models/blocks/blocks.js'
import { bytesPerToken, stateBytes } from '../models/state-fields.js'
import { endOfText as endOfTextOf } from '../generation/end-of-text.js'
import { type GenerationDefaults, readGenerationConfig } from '../generation/generation-config.js'
import { SAMPLING } from '../options/generation.js'
import { findTokenizer } from '../tokenizer/find.js'
import { quantizedKind } from '../weights/formats/formats.js'
import { parameterCount } from '../weights/parameters.js'
import { defineCommand } from './command.js'
import { layerLine } from './layer-line.js'
import { showNotice } from './notice.js'
import { formatBytes, formatCount } from '../support/format.js'
import { exitCodes } from './program.js'

export const showCommand = defineCommand({
  name: 'show',
  summary: 'describe a model: architecture, sizes, memory needed',
  usage: 'MODEL [--json]',
  options: { json: { type: 'boolean', description: 'print one JSON object instead of a table' } },
  positionals: [
    { name: 'MODEL', description: 'file, folder, or Hub name in the local cache', required: true },
  ],
  example: 'ssm-metal show ./mamba2-130m',
  async run({ options, positionals }) {
    const checkpoint = await openCheckpoint(await resolveModelPath(positionals[0]!))
    for (const notice of checkpoint.notices) showNotice(notice)
    const facts = {
      ...describeCheckpoint(checkpoint),
      ...(await describeText(checkpoint)),
      memory: await memoryOf(checkpoint),
    }
    process.stdout.write(options.json ? `${JSON.stringify(facts)}\n` : table(facts, checkpoint))
    return exitCodes.success
  },
})

/** What the model needs on this machine's device; null where the addon does not load. */
async function memoryOf(checkpoint: Checkpoint) {
  try {
    using device = createDevice('auto', { onNotice: showNotice })
    const needs = await memoryNeeds(device, checkpoint)
    return { device: device.name, ...needs, promptCacheBytes: defaultPromptCacheBytes() }
  } catch (error) {
    if (error instanceof AddonNotFoundError) return null
    throw error
  }
}

/** Which tokenizer `loadModel` would take, where a text ends by which file, and how tokens are drawn. */
async function describeText(checkpoint: Checkpoint) {
  const { folder, config } = checkpoint
  const names = { folder, name: config.tokenizerName }
  const found = await findTokenizer(names, { onNotice: showNotice })
  const { tokenizer, problem } = found
  const generation = readGenerationConfig(folder, showNotice)
  const endOfText = endOfTextOf(checkpoint, generation, found.endsOfText).map((end) => ({
    ...end,
    text: tokenizer?.decode([end.id], { skipSpecialTokens: false }) ?? null,
  }))
  const chat = await findChatTemplate({ folder, ...found }, { onNotice: showNotice })
  return {
    endOfText,
    chatTemplate: chat.template?.source ?? null,
    generationDefaults: generation.defaults,
    tokenizer: { usable: tokenizer !== undefined, problem: problem?.message ?? null },
  }
}

function describeCheckpoint(checkpoint: Checkpoint) {
  const { config, tensors, folder } = checkpoint
  const entries = [...tensors.values()]
  const dtypes: Record<string, number> = {}
  for (const { dtype, byteLength } of entries) dtypes[dtype] = (dtypes[dtype] ?? 0) + byteLength
  const weightBytes = entries.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return {
    path: folder,
    ...config,
    parameters: parameterCount(checkpoint),
    weightBytes,
    bytesByDtype: dtypes,
    stateBytes: stateBytes(config),
    bytesPerToken: bytesPerToken(config),
  }
}

type Facts = ReturnType<typeof describeCheckpoint> &
  Awaited<ReturnType<typeof describeText>> & {
    memory: Awaited<ReturnType<typeof memoryOf>>
  }

function table(facts: Facts, { config, layers }: Checkpoint): string {
  const { quantization, vocabSize, paddedVocabSize } = config
  const rows: [string, string][] = [
    ['path', facts.path],
    ['architecture', `${config.architecture} (${config.format})`],
    ['parameters', formatCount(facts.parameters)],
    ['layers', layerLine(layers)],
    ['d_model', String(config.dModel)],
  ]
  for (const layer of uniqueLayers(config.layers)) {
    rows.push([layer.kind, blockKind(layer.kind).describe(layer)])
  }
  rows.push(
    [
      'vocabulary',
      paddedVocabSize === vocabSize
        ? String(vocabSize)
        : `${vocabSize}, padded to ${paddedVocabSize}`,
    ],
    ['head', config.tieEmbeddings ? 'tied to the embedding' : 'its own'],
    ['quantisation', quantization ? quantizedKind(quantization).describe(quantization) : 'none'],
    [
      'types',
      Object.entries(facts.bytesByDtype)
        .map(([dtype, bytes]) => `${dtype} ${formatBytes(bytes)}`)
        .join(', '),
    ],
    ['weights', formatBytes(facts.weightBytes)],
    ['state', `${formatBytes(facts.stateBytes)} a sequence, whatever its length`],
  )
  if (facts.bytesPerToken > 0) {
    const most = config.maxContext === undefined ? '' : `, made for ${config.maxContext} tokens`
    rows.push(['context', `${formatBytes(facts.bytesPerToken)} a token in float32${most}`])
  }
  if (facts.memory) {
    rows.push(['memory needed', memoryNeeded(facts.memory)])
    if (facts.bytesPerToken > 0) rows.push(['with a context', memoryByContext(facts, facts.memory)])
    rows.push(['prompt cache', promptCache(facts, facts.memory)])
  }
  if (facts.tokenizer.problem !== null) {
    rows.push(['tokenizer', `cannot be used: ${facts.tokenizer.problem}`])
  } else if (config.tokenizerName) rows.push(['tokenizer', config.tokenizerName])
  // One a line: a model may have several, each from several files.
  const ends = facts.endOfText.map(
    ({ id, text, sources }) =>
      `${id}${text === null ? '' : ` ${JSON.stringify(text)}`} (${sources.join(', ')})`,
  )
  for (const end of ends.length > 0 ? ends : ['none named']) rows.push(['end of text', end])
  rows.push([
    'chat template',
    facts.chatTemplate === null ? 'none: a base model' : basename(facts.chatTemplate),
  ])
  rows.push(['sampling', sampling(facts.generationDefaults)])
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

// As the options of `generate` that it stands for.
function sampling(defaults: GenerationDefaults): string {
  const given = Object.entries(defaults).map(
    ([name, value]) => `--${SAMPLING[name as keyof GenerationDefaults].flag.name} ${value}`,
  )
  if (given.length === 0) return 'greedy'
  const greedy = defaults.temperature === undefined ? 'greedy, ' : ''
  return `${greedy}${given.join(' ')} (generation_config.json)`
}

function memoryNeeded(memory: NonNullable<Facts['memory']>): string {
  const { device, totalBytes, mappedWeightBytes } = memory
  const parts = describeNeeds(memory, { name: device })
  const mapped =
    device === 'cpu' && mappedWeightBytes > 0
      ? `; ${formatBytes(mappedWeightBytes)} of weights stay in their file`
      : ''
  return `${formatBytes(totalBytes)} on ${device}: ${parts}${mapped}`
}

// Weights, states and scratch memory, and the keys and values of one sequence.
function memoryByContext(
  { bytesPerToken, maxContext }: Facts,
  { totalBytes }: NonNullable<Facts['memory']>,
): string {
  const fitting = CONTEXTS.filter((tokens) => tokens <= (maxContext ?? Number.POSITIVE_INFINITY))
  const contexts = fitting.length > 0 ? fitting : [maxContext!]
  return contexts
    .map((tokens) => {
      const label = tokens % 1024 === 0 ? `${tokens / 1024}k` : String(tokens)
      return `${formatBytes(totalBytes + tokens * bytesPerToken)} at ${label}`
    })
    .join(', ')
}

const CONTEXTS = [4, 32, 128].map((thousands) => 1024 * thousands)

// A snapshot is a state and the logits of the next token.
function promptCache(
  { stateBytes, paddedVocabSize }: Facts,
  { promptCacheBytes }: NonNullable<Facts['memory']>,
): string {
  const snapshot = formatBytes(stateBytes + 4 * paddedVocabSize)
  return `up to ${formatBytes(promptCacheBytes)} by default, ${snapshot} a prompt or turn`
}

function uniqueLayers(layers: readonly LayerConfig[]): LayerConfig[] {
  return [...new Map(layers.map((layer) => [JSON.stringify(layer), layer])).values()]
}
