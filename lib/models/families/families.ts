// The families of checkpoints that are implemented.

import { listed } from '../../support/format.js'
import type { ConfigReader } from '../config-reader.js'
import { bamba } from './bamba.js'
import { edgeMlx } from './edge-mlx.js'
import type { Family } from './family.js'
import { falconH1 } from './falcon-h1.js'
import { graniteHybrid } from './granite-hybrid.js'
import { lfm2, lfm2Moe } from './lfm2.js'
import { llamba } from './llamba.js'
import { hfMamba2 } from './hf-mamba2.js'
import { nemotronH } from './nemotron-h.js'
import { qwen35, qwen35Moe } from './qwen3-5.js'
import { rene } from './rene.js'
import { stateSpaces } from './state-spaces.js'
import { zamba2 } from './zamba2.js'

// The table.
const FAMILIES: readonly Family[] = [
  rene,
  hfMamba2,
  stateSpaces,
  graniteHybrid,
  falconH1,
  nemotronH,
  bamba,
  zamba2,
  lfm2,
  lfm2Moe,
  llamba,
  qwen35,
  qwen35Moe,
  edgeMlx,
]

/** The families, with the models that people know them by. */
export const publishedFamilies: readonly Pick<Family, 'name' | 'licence' | 'published'>[] = FAMILIES

/** A family, and the configuration that it was recognised by. */
export interface Recognised {
  family: Family
  config: ConfigReader
}

/** The family whose configuration the header of a weights file holds. */
export function familyInHeader(
  file: string,
  metadata: Record<string, string>,
): Recognised | undefined {
  for (const family of FAMILIES) {
    const config = family.configInHeader?.(file, metadata)
    if (config) return { family, config }
  }
  return undefined
}

/** The family of a config.json. Throws when it is none of those implemented. */
export function familyOf(config: ConfigReader): Recognised {
  const family = FAMILIES.find((candidate) => candidate.isConfig?.(config))
  if (family) return { family, config }
  if (!config.has('model_type')) {
    config.unsupported('has neither model_type nor ssm_cfg: it is of no family known here')
  }
  const type = JSON.stringify(config.string('model_type'))
  const names = FAMILIES.map(({ name }) => name)
  return config.unsupported(`has model_type ${type}. Implemented: ${listed(names, 'and')}`)
}
