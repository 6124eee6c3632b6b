// The version of this package, from its package.json.

import { createRequire } from 'node:module'

/** For example "0.1.0". */
export const VERSION: string = createRequire(import.meta.url)('../package.json').version
