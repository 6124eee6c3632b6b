// What a caller should know though nothing failed. Nothing in the library writes to the terminal: whoever
// wants to show notices gives a function for them.

export interface Notice {
  /** Stable, to tell notices apart. */
  code: NoticeCode
  /** One line, for people. */
  message: string
}

/**
 * `SELF_CHECK_FAILED`: a device is not used because its self-check failed, and which one is used instead.
 * `FILE_NOT_USED`: an optional file of the model is not used, and why.
 */
export type NoticeCode = 'SELF_CHECK_FAILED' | 'FILE_NOT_USED'

/** Called with a notice when there is one. */
export type OnNotice = (notice: Notice) => void
