// How fast a download is, and when it will be done.

/** How far a download is. */
export interface DownloadProgress {
  /** Bytes on this machine, those of an earlier call among them. */
  readonly loaded: number
  readonly total: number
  /** Over the last seconds; undefined in the first moment. */
  readonly bytesPerSecond: number | undefined
  readonly secondsLeft: number | undefined
}

const WINDOW = 5000
const INTERVAL = 100
const LEAST_SECONDS = 0.3

/** Adds up the bytes of several files, and reports at most ten times a second. */
export class TransferRate {
  readonly #total: number
  readonly #report: (progress: DownloadProgress) => void
  readonly #now: () => number
  readonly #loaded = new Map<string, number>()
  #arrived = 0
  readonly #samples: { at: number; arrived: number }[] = []
  #lastReport = Number.NEGATIVE_INFINITY

  constructor(
    total: number,
    report: (progress: DownloadProgress) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#total = total
    this.#report = report
    this.#now = now
  }

  /** `bytes` of a file are there. What was there when it was first told of did not arrive now. */
  update(file: string, bytes: number): void {
    const before = this.#loaded.get(file)
    this.#loaded.set(file, bytes)
    if (before !== undefined) this.#arrived += Math.max(0, bytes - before)
    const now = this.#now()
    if (now - this.#lastReport < INTERVAL) return
    this.#lastReport = now
    this.#samples.push({ at: now, arrived: this.#arrived })
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > WINDOW) this.#samples.shift()
    this.report()
  }

  /** Reports now. */
  report(): void {
    const loaded = [...this.#loaded.values()].reduce((sum, bytes) => sum + bytes, 0)
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    const seconds = first && last ? (last.at - first.at) / 1000 : 0
    // The first bytes say little.
    const bytesPerSecond =
      seconds >= LEAST_SECONDS ? (last!.arrived - first!.arrived) / seconds : undefined
    const secondsLeft = bytesPerSecond ? (this.#total - loaded) / bytesPerSecond : undefined
    this.#report({ loaded, total: this.#total, bytesPerSecond, secondsLeft })
  }
}
