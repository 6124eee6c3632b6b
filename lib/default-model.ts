// The small trained model that ships in the package, for when no other is named.

import { fileURLToPath } from 'node:url'

// lib/ and dist/ are both one level below the package's root.
const DEFAULT_MODEL = fileURLToPath(new URL('../models/rene-tiny', import.meta.url))

let announced = false

/** Its folder. Says once on standard error that it is the one in use. */
export function defaultModel(): string {
  if (!announced) {
    announced = true
    process.stderr.write(
      'ssm-metal: no model named, using the built-in rene-tiny (19 M parameters)\n',
    )
  }
  return DEFAULT_MODEL
}
