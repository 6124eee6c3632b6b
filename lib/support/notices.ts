// What a caller should know though nothing failed. Nothing in the library writes to the terminal: whoever
// wants to show notices gives a function for them, and without one they are lost.

export interface Notice {
  /** Stable, to tell notices apart. */
  code: NoticeCode
  /** One line, for people. */
  message: string
}

/**
 * `SELF_CHECK_FAILED`: a device is not used because its self-check failed, and which one is used instead.
 * `DEFAULT_MODEL`: no model was named, and the built-in one is used.
 * `TUNING_IGNORED`: what `tune` saved for this machine cannot be used, and why.
 * `FILE_NOT_USED`: an optional file of the model, or a value in it, is not used, and why.
 * `HEAD_NOT_TIED`: the configuration ties head and embedding, but the file has two different ones.
 * `TENSORS_SKIPPED`: the file has modules that the model does not use.
 * `INDEX_IGNORED`: an index of shards does not fit those that are there, which are complete.
 * `DOWNLOAD`: files are fetched from the Hub now: what, how much, and where they are kept.
 * `MODEL_RENAMED`: the Hub knows the model by another name now.
 */
export type NoticeCode =
  | 'SELF_CHECK_FAILED'
  | 'DEFAULT_MODEL'
  | 'TUNING_IGNORED'
  | 'FILE_NOT_USED'
  | 'HEAD_NOT_TIED'
  | 'TENSORS_SKIPPED'
  | 'INDEX_IGNORED'
  | 'DOWNLOAD'
  | 'MODEL_RENAMED'

/** Called with a notice when there is one. */
export type OnNotice = (notice: Notice) => void
