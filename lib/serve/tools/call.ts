// Tools that requests offer, and calls of them.

/** A call as the model wrote it. */
export interface WrittenCall {
  readonly name: string
  readonly arguments: Readonly<Record<string, unknown>>
}

/** A tool that a request offers. */
export interface OfferedTool {
  readonly name: string
  readonly description?: string | undefined
  /** JSON schema of the arguments; without it there are none. */
  readonly parameters?: Readonly<Record<string, unknown>> | undefined
}
