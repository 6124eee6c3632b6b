// GET /metrics: counters in the text format of Prometheus.

import type { GenerateResult } from '../generation/generate.js'
import type { Model } from '../model.js'

interface Row {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly values: readonly (readonly [labels: string, value: number])[]
}

/** What has happened since the server was started. */
export class Metrics {
  readonly #requests = new Map<string, number>()
  #prompt = 0
  #cached = 0
  #generated = 0
  #promptSeconds = 0
  #generationSeconds = 0

  /** A request has been answered, or its client is gone: 499. */
  countRequest(route: string, status: number): void {
    const labels = `route="${route}",status="${status}"`
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1)
  }

  /** A text has ended. `isFirst`: it is the one that ran its prompt. */
  countText({ usage, timings }: GenerateResult, isFirst: boolean): void {
    this.#generated += usage.completionTokens
    this.#generationSeconds += timings.generationMs / 1000
    if (!isFirst) return
    this.#prompt += usage.promptTokens
    this.#cached += usage.cachedTokens
    this.#promptSeconds += timings.promptMs / 1000
  }

  /** @example metrics.text(model, { texts: 3, requests: 2 }) */
  text(model: Model | undefined, { texts }: { texts: number }): string {
    const counter = (name: string, help: string, value: number): Row => ({
      name,
      type: 'counter',
      help,
      values: [['', value]],
    })
    const gauge = (name: string, help: string, value: number): Row => ({
      ...counter(name, help, value),
      type: 'gauge',
    })
    const memory = Object.entries(model?.memory() ?? {}).flatMap(([name, value]) =>
      typeof value === 'number' ? [[`kind="${name}"`, value] as const] : [],
    )
    const rows: Row[] = [
      {
        name: 'requests_total',
        type: 'counter',
        help: 'Requests that were answered',
        values: [...this.#requests],
      },
      counter('prompt_tokens_total', 'Tokens of prompts', this.#prompt),
      counter('cached_tokens_total', 'Those of prompts that were not computed', this.#cached),
      counter('generated_tokens_total', 'Tokens that were generated', this.#generated),
      counter('prompt_seconds_total', 'Seconds that prompts took', this.#promptSeconds),
      counter('generation_seconds_total', 'Seconds that texts took', this.#generationSeconds),
      gauge('texts', 'Texts that run or wait', texts),
      gauge('resident_bytes', 'Main memory of the process', process.memoryUsage.rss()),
      gauge('model_loaded', 'Whether the model is loaded', model ? 1 : 0),
      { name: 'model_bytes', type: 'gauge', help: 'Memory of the model', values: memory },
    ]
    return rows
      .filter(({ values }) => values.length > 0)
      .map(formatRow)
      .join('')
  }
}

function formatRow({ name, type, help, values }: Row): string {
  const full = `ssm_metal_${name}`
  const lines = values.map(([labels, value]) => `${full}${labels && `{${labels}}`} ${value}\n`)
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`
}
