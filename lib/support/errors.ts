// Errors that a caller can act on. Each has a stable `code`; everything else is a plain
// TypeError (wrong kind of argument), RangeError (wrong value) or Error (native failure).

abstract class CodedError extends Error {
  abstract readonly code: string
  // Written down in each class: a minifier renames classes.
  abstract override get name(): string
}

/** No such folder, file or Hub name on this machine, or on the Hub. The message names the places looked at. */
export class ModelNotFoundError extends CodedError {
  readonly code = 'ERR_MODEL_NOT_FOUND'
  override get name(): string {
    return 'ModelNotFoundError'
  }
}

/** Why nothing, or not all, was fetched from the Hub. */
export type DownloadFailure =
  | 'no-access'
  | 'rate-limited'
  | 'unreachable'
  | 'refused'
  | 'damaged'
  | 'no-space'
  | 'not-written'

/**
 * A model or tokenizer could not be fetched from the Hub. The message says why and what to do; what has arrived is
 * kept, and the next call goes on from there. What the Hub does not have is a `ModelNotFoundError`.
 */
export class DownloadError extends CodedError {
  readonly code = 'ERR_DOWNLOAD'
  override get name(): string {
    return 'DownloadError'
  }
  readonly reason: DownloadFailure

  constructor(message: string, options: { reason: DownloadFailure; cause?: unknown }) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.reason = options.reason
  }
}

/** The checkpoint ships no tokenizer, or none that can be used. The message says why, or names the one that its authors use. */
export class TokenizerNotFoundError extends CodedError {
  readonly code = 'ERR_TOKENIZER_NOT_FOUND'
  override get name(): string {
    return 'TokenizerNotFoundError'
  }
}

/** The checkpoint has no chat template, as base models have none. The message says how to give one. */
export class NoChatTemplateError extends CodedError {
  readonly code = 'ERR_NO_CHAT_TEMPLATE'
  override get name(): string {
    return 'NoChatTemplateError'
  }
}

/** A chat template refuses a conversation, fails on it, or takes too long. The message says which. */
export class ChatTemplateError extends CodedError {
  readonly code = 'ERR_CHAT_TEMPLATE'
  override get name(): string {
    return 'ChatTemplateError'
  }
}

/** A file that is not what it claims to be: the message leads with the file and the part concerned. */
export class CorruptFileError extends CodedError {
  readonly code = 'ERR_CORRUPT_FILE'
  override get name(): string {
    return 'CorruptFileError'
  }
}

/** As many calls wait for a place in the model as `maxQueue` allows. Try again later, or raise it. */
export class QueueFullError extends CodedError {
  readonly code = 'ERR_QUEUE_FULL'
  override get name(): string {
    return 'QueueFullError'
  }
}

/** A session takes one call at a time. */
export class SessionBusyError extends CodedError {
  readonly code = 'ERR_SESSION_BUSY'
  override get name(): string {
    return 'SessionBusyError'
  }
}

/** An error left the state of a session unusable; `cause` is that error. Rewind, reset or dispose of it. */
export class SessionLostError extends CodedError {
  readonly code = 'ERR_SESSION_LOST'
  override get name(): string {
    return 'SessionLostError'
  }
}

/** A session file that is sound but not for this model, or not for this version. The message says whose it is. */
export class SessionMismatchError extends CodedError {
  readonly code = 'ERR_SESSION_MISMATCH'
  override get name(): string {
    return 'SessionMismatchError'
  }
}

/** A checkpoint of an architecture, or with a setting, that this package does not implement. */
export class UnsupportedArchitectureError extends CodedError {
  readonly code = 'ERR_UNSUPPORTED_ARCHITECTURE'
  override get name(): string {
    return 'UnsupportedArchitectureError'
  }
}

/** An option that does not exist, or that this device or model cannot honour. */
export class UnsupportedOptionError extends CodedError {
  readonly code = 'ERR_UNSUPPORTED_OPTION'
  override get name(): string {
    return 'UnsupportedOptionError'
  }
}

/** The device asked for does not exist here. The message says why and what to do. */
export class DeviceNotAvailableError extends CodedError {
  readonly code = 'ERR_DEVICE_NOT_AVAILABLE'
  override get name(): string {
    return 'DeviceNotAvailableError'
  }
}

/** The system starts no more threads for this process. The message says what to change. */
export class ThreadLimitError extends CodedError {
  readonly code = 'ERR_THREAD_LIMIT'
  override get name(): string {
    return 'ThreadLimitError'
  }
}

/** A model that would not fit. The message says what it needs, what there is, and what would fit. */
export class InsufficientMemoryError extends CodedError {
  readonly code = 'ERR_INSUFFICIENT_MEMORY'
  override get name(): string {
    return 'InsufficientMemoryError'
  }
  readonly neededBytes: number
  readonly availableBytes: number

  constructor(message: string, bytes: { neededBytes: number; availableBytes: number }) {
    super(message)
    this.neededBytes = bytes.neededBytes
    this.availableBytes = bytes.availableBytes
  }
}

/** A sequence would be longer than the context. The message says by how much, and what to do. */
export class ContextLengthError extends CodedError {
  readonly code = 'ERR_CONTEXT_LENGTH'
  override get name(): string {
    return 'ContextLengthError'
  }
  /** Tokens that would be needed. */
  readonly tokens: number
  /** Tokens that a sequence may have. */
  readonly maxContext: number

  constructor(message: string, sizes: { tokens: number; maxContext: number }) {
    super(message)
    this.tokens = sizes.tokens
    this.maxContext = sizes.maxContext
  }
}

/** Why the native addon did not load. */
export type AddonFailure =
  | 'node-version'
  | 'addons-switched-off'
  | 'permission-model'
  | 'unsupported-system'
  | 'wrong-machine'
  | 'libc'
  | 'damaged-binary'
  | 'bundled'
  | 'no-binary'

/** The GPU has not answered for too long and was given up. Create another device, or load the model again. */
export class DeviceLostError extends CodedError {
  readonly code = 'ERR_DEVICE_LOST'
  override get name(): string {
    return 'DeviceLostError'
  }
}

/**
 * `ERR_BAD_DATA`: an operation refuses what a tensor holds, such as NaN in weights that are to be quantised or in logits
 * of which a token is to be drawn. `ERR_OUT_OF_MEMORY`: there was not enough memory for the run. `ERR_DEVICE_FAILED`:
 * the device failed. After either of these two, what the run writes has to be written whole before it is used.
 * `ERR_OPERATION_FAILED`: anything else, such as a kernel that this GPU cannot run.
 */
export type OperationErrorCode =
  | 'ERR_BAD_DATA'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE_FAILED'
  | 'ERR_OPERATION_FAILED'

/** Where an operation was recorded, as far as it is known. */
export interface OperationPlace {
  /** As the recorder's method is called, `affineQuantize`. Undefined where a GPU cannot tell which one failed. */
  operation?: string | undefined
  /** The layer of a model that it belongs to, `layers.3`. */
  layer?: string | undefined
}

/**
 * A run failed, or gave logits of which no token can be drawn. Its stack shows who called `list.run()`; where that was
 * this package, whoever waits for a text or a session gets an error that shows their call, with the first one as
 * `cause`.
 *
 * @example
 * try {
 *   await list.run()
 * } catch (error) {
 *   if (!(error instanceof OperationError) || error.code !== 'ERR_BAD_DATA') throw error
 *   console.error(`${error.operation} in ${error.layer}: ${error.message}`)
 * }
 */
export class OperationError extends CodedError implements OperationPlace {
  readonly code: OperationErrorCode
  readonly operation: string | undefined
  readonly layer: string | undefined
  override get name(): string {
    return 'OperationError'
  }

  constructor(
    message: string,
    options: OperationPlace & { code: OperationErrorCode; cause?: unknown },
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = options.code
    this.operation = options.operation
    this.layer = options.layer
  }
}

/** The native addon could not be loaded. The message says why, what to do, and what was tried. */
export class AddonNotFoundError extends CodedError {
  readonly code = 'ERR_ADDON_NOT_FOUND'
  override get name(): string {
    return 'AddonNotFoundError'
  }
  readonly reason: AddonFailure

  constructor(message: string, options: { reason: AddonFailure; cause?: unknown }) {
    super(message, options)
    this.reason = options.reason
  }
}

/** Use of a model, device, buffer or command list after its `dispose()`. */
export class DisposedError extends CodedError {
  readonly code = 'ERR_DISPOSED'
  override get name(): string {
    return 'DisposedError'
  }
}

/** A device computes wrongly, or crashes: what was checked, and how far off it is. */
export class SelfCheckError extends CodedError {
  readonly code = 'ERR_SELF_CHECK_FAILED'
  override get name(): string {
    return 'SelfCheckError'
  }
  readonly operation: string
  /** |result - correct| where it is furthest from what is allowed; NaN when there is no result. */
  readonly error: number
  /** What is allowed there; NaN when there is no result. */
  readonly limit: number

  constructor(
    message: string,
    { operation, error, limit }: { operation: string; error: number; limit: number },
  ) {
    super(message)
    this.operation = operation
    this.error = error
    this.limit = limit
  }
}
