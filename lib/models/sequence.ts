// One sequence of tokens running through a model: its state, and the command lists that advance it.

import type { CommandList } from '../command-list.js'
import type { Sampler } from '../sampler.js'
import type { Tensor } from '../tensor.js'
import type { LanguageModel, ModelState } from './language-model.js'
import type { Pass } from './layers/layer.js'
import { Workspace } from './workspace.js'

/** Tokens of a prompt that run through the model at once, by default. */
export const PREFILL_CHUNK_SIZE = 512

// Logits of all positions of a chunk are kept below this, so that a large vocabulary does not need
// hundreds of megabytes of scratch memory.
const LARGEST_LOGITS_BYTES = 32 * 2 ** 20

export interface RunOptions {
  signal?: AbortSignal | undefined
  /** Tokens of a prompt that run through the model at once. Results do not depend on it. Defaults to 512. */
  prefillChunkSize?: number | undefined
}

/**
 * A sequence: feed it a prompt with `prefill`, then ask for one token after another with `decode`.
 * The decode list is recorded once; what changes from token to token lives in device buffers.
 */
export class Sequence {
  readonly #model: LanguageModel
  readonly #sampler: Sampler | undefined
  readonly #state: ModelState
  readonly #workspace: Workspace
  /** Tokens consumed so far: uint32 (1). */
  readonly #position: Tensor
  /** The token that `sample` chose last: uint32 (1). */
  readonly #token: Tensor
  readonly #tokenId = new Uint32Array(1)
  #prompt: Tensor | undefined
  #decode: { list: CommandList; logits: Tensor } | undefined
  /** Logits that the last token was chosen from: (1, vocabulary). */
  #logits: Tensor | undefined

  /** Without a sampler, `prefill` and `decode` choose no token and only `logits` is of use. */
  constructor(model: LanguageModel, sampler?: Sampler) {
    const { device } = model
    this.#model = model
    this.#sampler = sampler
    this.#state = model.createState(1)
    this.#workspace = new Workspace(device)
    this.#position = device.tensor('uint32', [1])
    this.#token = device.tensor('uint32', [1])
  }

  /**
   * Runs tokens through the model; calls `onLogits` with the logits of each chunk, row by row
   * (length, vocabulary), which are valid until it returns.
   */
  async logits(
    tokens: Uint32Array,
    onLogits: (rows: Float32Array, first: number) => void,
    { signal, prefillChunkSize = PREFILL_CHUNK_SIZE }: RunOptions = {},
  ): Promise<void> {
    const vocabulary = this.#model.config.paddedVocabSize
    const most = Math.max(1, Math.floor(LARGEST_LOGITS_BYTES / (4 * vocabulary)))
    const chunkSize = Math.min(prefillChunkSize, most)
    const rows = new Float32Array(Math.min(chunkSize, tokens.length) * vocabulary)
    await this.#chunks(tokens, chunkSize, signal, 'all', (logits, first, length) => {
      const part = rows.subarray(0, length * vocabulary)
      logits!.readInto(part)
      onLogits(part, first)
    })
  }

  /** Runs a prompt through the model and chooses the token after it. */
  async prefill(
    tokens: Uint32Array,
    { signal, prefillChunkSize = PREFILL_CHUNK_SIZE }: RunOptions = {},
  ): Promise<void> {
    this.#sampler?.remember(tokens)
    await this.#chunks(tokens, prefillChunkSize, signal, 'last', (logits) => {
      this.#logits = logits
    })
  }

  /** Runs the token chosen last through the model and chooses the next one. */
  async decode({ signal }: RunOptions = {}): Promise<void> {
    this.#decode ??= this.#recordDecode()
    this.#logits = this.#decode.logits
    await this.#decode.list.run({ signal })
  }

  /** The token that `prefill` or `decode` chose last. */
  get token(): number {
    this.#token.readInto(this.#tokenId)
    return this.#tokenId[0]!
  }

  /** Replaces the token that the next `decode` consumes. */
  set token(id: number) {
    this.#token.write(Uint32Array.of(id))
  }

  /** Copies the logits that the last token was chosen from, before penalties and temperature. */
  readLogits(target: Float32Array): void {
    this.#logits!.readInto(target)
  }

  dispose(): void {
    this.#decode?.list.dispose()
    this.#workspace.dispose()
    this.#prompt?.dispose()
    for (const layer of this.#state) {
      for (const tensor of Object.values(layer)) tensor.dispose()
    }
    this.#position.dispose()
    this.#token.dispose()
  }

  // `onChunk` gets the logits asked for: with 'last' only for the last chunk.
  async #chunks(
    tokens: Uint32Array,
    chunkSize: number,
    signal: AbortSignal | undefined,
    wanted: 'all' | 'last',
    onChunk: (logits: Tensor | undefined, first: number, length: number) => void,
  ): Promise<void> {
    // One list serves all chunks of full length.
    let full: { list: CommandList; logits: Tensor | undefined } | undefined
    try {
      for (let first = 0; first < tokens.length; first += chunkSize) {
        const chunk = tokens.subarray(first, first + chunkSize)
        const isLast = first + chunk.length === tokens.length
        const wantedHere = wanted === 'last' && !isLast ? 'none' : wanted
        const reusable = chunk.length === chunkSize && (wanted === 'all' || !isLast)
        const recorded = reusable
          ? (full ??= this.#recordPrefill(chunk.length, wantedHere))
          : this.#recordPrefill(chunk.length, wantedHere)
        this.#prompt!.write(chunk)
        try {
          await recorded.list.run({ signal })
          if (wanted === 'all' || isLast) onChunk(recorded.logits, first, chunk.length)
        } finally {
          if (!reusable) recorded.list.dispose()
        }
      }
    } finally {
      full?.list.dispose()
    }
  }

  #recordPrefill(length: number, logits: 'all' | 'last' | 'none') {
    if (!this.#prompt || this.#prompt.elements < length) {
      this.#prompt?.dispose()
      this.#prompt = this.#model.device.tensor('uint32', [length])
    }
    const tokens = this.#prompt.view([1, length])
    return this.#record(length, logits === 'last', (pass) =>
      this.#model.prefill(pass, tokens, this.#state, logits),
    )
  }

  #recordDecode() {
    const { list, logits } = this.#record(1, true, (pass) =>
      this.#model.decode(pass, this.#token, this.#state),
    )
    return { list, logits: logits! }
  }

  #record(length: number, choose: boolean, forward: (pass: Pass) => Tensor | undefined) {
    let logits: Tensor | undefined
    const list = this.#model.device.record((cl) => {
      const position = this.#position
      logits = forward({ cl, workspace: this.#workspace, position })
      // Before sampling: the position of the token to be chosen decides its random numbers.
      cl.advancePosition(position, length)
      if (choose && logits && this.#sampler) {
        const { settings, selection, history } = this.#sampler
        cl.sample({ logits, settings, selection, history, position, out: this.#token })
      }
    })
    return { list, logits }
  }
}
