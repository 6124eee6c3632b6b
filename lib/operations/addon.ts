// The addon that this process has loaded; lib/addon/ finds and loads it.

import type { Addon } from '../addon/contract.js'
import { type LoadedAddon, loadAddon } from '../addon/load.js'

let loaded: LoadedAddon | undefined

/** Loads the addon on first use. Throws `AddonNotFoundError`, which says why and what to do. */
export function addon(): Addon {
  loaded ??= loadAddon()
  return loaded.addon
}

/** The file that `addon()` loaded, loading it if need be, and its name as seen from the package's folder. */
export function addonFile(): { path: string; name: string } {
  addon()
  return loaded!
}
