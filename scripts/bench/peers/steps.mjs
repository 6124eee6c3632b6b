// When which stream has drawn a token.

/**
 * Times `count` tokens of each of some streams, from when all of them have their first one until each has so many
 * more. Those that are ahead go on meanwhile, and their tokens count.
 */
export class Steps {
  #streams
  #count
  #begun = new Set()
  #start = 0
  #end = 0
  #tokens = 0
  /** Of each stream: tokens since all have begun. */
  #drawn
  /** Milliseconds that each stream took for its tokens. */
  #times = []

  constructor(streams, count) {
    this.#streams = streams
    this.#count = count
    this.#drawn = new Array(streams).fill(0)
  }

  /** A stream has a token. Returns whether all have theirs: then it may end. */
  drawn(index) {
    const now = performance.now()
    if (this.#begun.size < this.#streams) {
      this.#begun.add(index)
      this.#start = now
      return false
    }
    if (this.#times.length === this.#streams) return true
    this.#tokens += 1
    this.#drawn[index] += 1
    if (this.#drawn[index] === this.#count) this.#times.push(now - this.#start)
    this.#end = now
    return this.#times.length === this.#streams
  }

  /** Tokens a second of all streams, and the time a token of the slowest one against the mean. */
  figures() {
    const mean = this.#times.reduce((sum, time) => sum + time, 0) / this.#streams
    return {
      tokensPerSecond: (1000 * this.#tokens) / (this.#end - this.#start),
      worst: Math.max(...this.#times) / mean,
    }
  }
}
