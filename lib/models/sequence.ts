// One sequence of tokens running through a model: its state, and the command lists that advance it.

import type { CommandList } from '../command-list.js'
import type { Recorder } from '../recorder.js'
import type { Sampler } from '../sampler.js'
import type { Tensor } from '../tensor.js'
import type { LanguageModel, ModelState } from './language-model.js'
import type { Pass } from './layers/layer.js'
import { Workspace } from './workspace.js'

/** Tokens of a prompt that run through the model at once, by default. */
export const PREFILL_CHUNK_SIZE = 256

// Logits of all positions of a chunk are kept below this, so that a large vocabulary does not need
// hundreds of megabytes of scratch memory.
const LARGEST_LOGITS_BYTES = 32 * 2 ** 20

export interface RunOptions {
  signal?: AbortSignal | undefined
  /** Tokens of a prompt that run through the model at once. Results do not depend on it. Defaults to 256. */
  prefillChunkSize?: number | undefined
}

interface Chunk {
  /** Index of its first token. */
  first: number
  length: number
}

interface Recorded {
  list: CommandList
  logits: Tensor | undefined
  /** Where the tokens of a prompt go before each run. */
  tokens?: Tensor
}

/**
 * A sequence: feed it a prompt with `prefill`, then ask for one token after another with `decode`.
 * What changes from token to token lives in device buffers, so that decode is recorded once for each
 * of two token buffers: while a run reads one and writes the other, the one it reads can be read here
 * too, and so the next token can be under way before the last one was looked at.
 */
export class Sequence {
  readonly #model: LanguageModel
  readonly #sampler: Sampler | undefined
  readonly #state: ModelState
  readonly #workspace: Workspace
  /** Tokens consumed so far: uint32 (1). */
  readonly #position: Tensor
  /** Each uint32 (1): the token that was chosen last, and where the next one goes. */
  readonly #tokens: readonly [Tensor, Tensor]
  /** Which of `#tokens` was chosen last. */
  #newest: 0 | 1 = 0
  readonly #tokenId = new Uint32Array(1)
  #prompt: Tensor | undefined
  /** By the token buffer that they read. */
  readonly #decode: [Recorded?, Recorded?] = []
  /** Logits that the last token was chosen from: (1, vocabulary). */
  #logits: Tensor | undefined

  /** Without a sampler, `prefill` and `decode` choose no token and only `logits` is of use. */
  constructor(model: LanguageModel, sampler?: Sampler) {
    const { device } = model
    this.#model = model
    this.#sampler = sampler
    this.#state = model.createState(1)
    this.#workspace = new Workspace(device, model.activationType)
    this.#position = device.tensor('uint32', [1])
    this.#tokens = [device.tensor('uint32', [1]), device.tensor('uint32', [1])]
  }

  /**
   * Runs tokens through the model; calls `onLogits` with the logits of each chunk, row by row
   * (length, vocabulary), which are valid until it returns.
   */
  async logits(
    tokens: Uint32Array,
    onLogits: (rows: Float32Array, first: number) => void,
    options: RunOptions = {},
  ): Promise<void> {
    const vocabulary = this.#model.config.paddedVocabSize
    let rows = new Float32Array(0)
    await this.#chunks(tokens, this.#logitsChunkSize(options), options.signal, {
      record: (length) => this.#recordPrefill(length, 'all'),
      after: ({ logits }, { first, length }) => {
        if (rows.length === 0) rows = new Float32Array(length * vocabulary)
        const part = rows.subarray(0, length * vocabulary)
        logits!.readInto(part)
        onLogits(part, first)
      },
    })
  }

  /**
   * Runs tokens through the model; calls `onLosses` with -log p (in nats) that the model gives to
   * targets[i] after tokens[0..i], chunk by chunk.
   */
  async negativeLogLikelihoods(
    tokens: Uint32Array,
    targets: Uint32Array,
    onLosses: (losses: Float32Array) => void,
    options: RunOptions = {},
  ): Promise<void> {
    const { device } = this.#model
    const chunkSize = Math.min(this.#logitsChunkSize(options), tokens.length)
    const targetIds = device.tensor('uint32', [1, chunkSize])
    const losses = device.tensor('float32', [1, chunkSize])
    try {
      await this.#chunks(tokens, chunkSize, options.signal, {
        record: (length) =>
          this.#recordPrefill(length, 'all', (cl, logits) =>
            cl.crossEntropy(logits, targetIds.view([1, length]), losses.view([1, length])),
          ),
        before: ({ first, length }) => targetIds.write(targets.subarray(first, first + length)),
        after: (_, { length }) => onLosses(losses.view([length]).read() as Float32Array),
      })
    } finally {
      targetIds.dispose()
      losses.dispose()
    }
  }

  /** Runs a prompt through the model and chooses the token after it. */
  async prefill(
    tokens: Uint32Array,
    { signal, prefillChunkSize = PREFILL_CHUNK_SIZE }: RunOptions = {},
  ): Promise<void> {
    this.#sampler?.remember(tokens)
    await this.#chunks(tokens, prefillChunkSize, signal, {
      record: (length, isLast) => this.#recordPrefill(length, isLast ? 'last' : 'none'),
      after: ({ logits }) => {
        this.#logits = logits
      },
    })
  }

  /**
   * Runs the token chosen last through the model and chooses the next one. Until it has resolved,
   * `token` is still the one that it runs; logits cannot be read and no other run be started.
   */
  async decode({ signal }: RunOptions = {}): Promise<void> {
    const from = this.#newest
    this.#decode[from] ??= this.#recordDecode(from)
    const { list, logits } = this.#decode[from]
    this.#logits = logits
    await list.run({ signal })
    this.#newest = from === 0 ? 1 : 0
  }

  /** The token that `prefill` or `decode` chose last. Throws `DisposedError` when the device was disposed. */
  get token(): number {
    void this.#model.device.handle
    this.#tokens[this.#newest].readInto(this.#tokenId)
    return this.#tokenId[0]!
  }

  /** Replaces the token that the next `decode` consumes. */
  set token(id: number) {
    this.#tokens[this.#newest].write(Uint32Array.of(id))
  }

  /** Copies the logits that the last token was chosen from, before penalties and temperature. */
  readLogits(target: Float32Array): void {
    this.#logits!.readInto(target)
  }

  dispose(): void {
    for (const recorded of this.#decode) recorded?.list.dispose()
    this.#workspace.dispose()
    this.#prompt?.dispose()
    for (const layer of this.#state) {
      for (const tensor of Object.values(layer)) tensor.dispose()
    }
    this.#position.dispose()
    for (const token of this.#tokens) token.dispose()
  }

  // Logits of all positions are large: fewer tokens at once when the vocabulary is.
  #logitsChunkSize({ prefillChunkSize = PREFILL_CHUNK_SIZE }: RunOptions): number {
    const rowBytes = 4 * this.#model.config.paddedVocabSize
    return Math.max(1, Math.min(prefillChunkSize, Math.floor(LARGEST_LOGITS_BYTES / rowBytes)))
  }

  // Records and runs a list for each chunk; one list serves all chunks but the last.
  async #chunks(
    tokens: Uint32Array,
    chunkSize: number,
    signal: AbortSignal | undefined,
    steps: {
      record(length: number, isLast: boolean): Recorded
      before?(chunk: Chunk): void
      after(recorded: Recorded, chunk: Chunk): void
    },
  ): Promise<void> {
    let shared: Recorded | undefined
    let last: Recorded | undefined
    try {
      for (let first = 0; first < tokens.length; first += chunkSize) {
        const ids = tokens.subarray(first, first + chunkSize)
        const isLast = first + ids.length === tokens.length
        const chunk = { first, length: ids.length }
        if (isLast) last = steps.record(ids.length, true)
        else shared ??= steps.record(ids.length, false)
        const recorded = (isLast ? last : shared)!
        recorded.tokens!.write(ids)
        steps.before?.(chunk)
        await recorded.list.run({ signal })
        steps.after(recorded, chunk)
      }
    } finally {
      shared?.list.dispose()
      last?.list.dispose()
    }
  }

  #recordPrefill(
    length: number,
    wanted: 'all' | 'last' | 'none',
    withLogits?: (cl: Recorder, logits: Tensor) => void,
  ): Recorded {
    if (!this.#prompt || this.#prompt.elements < length) {
      this.#prompt?.dispose()
      this.#prompt = this.#model.device.tensor('uint32', [length])
    }
    const tokens = this.#prompt.view([1, length])
    const chosen = wanted === 'last' ? this.#tokens[this.#newest] : undefined
    const recorded = this.#record(length, chosen, (pass) => {
      const logits = this.#model.prefill(pass, tokens, this.#state, wanted)
      if (logits) withLogits?.(pass.cl, logits)
      return logits
    })
    return { ...recorded, tokens }
  }

  #recordDecode(from: 0 | 1): Recorded {
    const [consumed, chosen] = from === 0 ? this.#tokens : [this.#tokens[1], this.#tokens[0]]
    return this.#record(1, chosen, (pass) => this.#model.decode(pass, consumed, this.#state))
  }

  // `chosen`: where the token goes that the sampler draws from the logits, if it is to.
  #record(
    length: number,
    chosen: Tensor | undefined,
    forward: (pass: Pass) => Tensor | undefined,
  ): Recorded {
    let logits: Tensor | undefined
    const list = this.#model.device.record((cl) => {
      const position = this.#position
      logits = forward({ cl, workspace: this.#workspace, position })
      // Before sampling: the position of the token to be chosen decides its random numbers.
      cl.advancePosition(position, length)
      if (chosen && logits && this.#sampler) {
        const { settings, selection, history } = this.#sampler
        cl.sample({ logits, settings, selection, history, position, out: chosen })
      }
    })
    return { list, logits }
  }
}
