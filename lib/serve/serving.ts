// What all requests of a server share.

import type { Access } from './access.js'
import { ApiError } from './api-error.js'
import type { Gate } from './gate.js'
import type { Metrics } from './metrics.js'
import type { ServedModel } from './served-model.js'

export interface ServeSettings {
  readonly maxTokens: number
  readonly maxBody: number
  readonly idleTimeout: number
  readonly totalTimeout: number
  readonly drainTimeout: number
}

export interface Serving {
  readonly settings: ServeSettings
  readonly access: Access
  readonly model: ServedModel
  readonly gate: Gate
  readonly metrics: Metrics
  /** What requests call the model. */
  readonly name: string
  /** When the server was started, in seconds since 1970. */
  readonly created: number
  /** It stops: what comes now is refused. */
  isDraining: boolean
  log(message: string): void
}

/** Throws a 404 for the name of another model; none at all is this one. */
export function checkModelName(name: string | undefined, serving: Serving): void {
  if (name === undefined || name === serving.name) return
  throw new ApiError(
    404,
    `there is no model ${JSON.stringify(name.slice(0, 100))} here: the one that is served is ${JSON.stringify(serving.name)}`,
    { param: 'model', code: 'model_not_found' },
  )
}
