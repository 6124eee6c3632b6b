// Which cache of the Hub the verbs that work on it mean.

import { resolve } from 'node:path'
import { hubCacheFolder } from '../hub/snapshots.js'
import { expandHome } from '../machine/cache-folder.js'
import type { OptionTable } from './command.js'

export const cacheOption = {
  'cache-dir': {
    type: 'string',
    placeholder: 'DIR',
    description: 'the cache; by default that of HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface/hub',
  },
} as const satisfies OptionTable

/** The folder of the cache. */
export function cacheFrom({ cacheDir }: { readonly cacheDir: string | undefined }): string {
  const folder = cacheDir === undefined ? hubCacheFolder() : resolve(expandHome(cacheDir))
  if (folder !== undefined) return folder
  throw new Error('there is no cache of the Hub, for the user has no home; set HF_HOME or HOME')
}
