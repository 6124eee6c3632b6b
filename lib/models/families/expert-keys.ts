// What families whose layers have experts have in common: how their configurations state the routing, and where files
// have the matrices.

import type { TensorEntry } from '../../weights/checkpoint.js'
import type { ExpertMatrices, ExpertsConfig } from '../blocks/experts.js'
import type { ConfigReader } from '../config-reader.js'

/** As mlx-lm has gated experts. */
export const SWITCH_MLP: ExpertMatrices = {
  inProj: 'switch_mlp.gate_proj',
  gateProj: 'switch_mlp.up_proj',
  outProj: 'switch_mlp.down_proj',
}

/** Those of a layer that its tensors are named after: the first where none are there. */
export function expertMatrices(
  tensors: ReadonlyMap<string, TensorEntry>,
  path: string,
  known: readonly [ExpertMatrices, ...ExpertMatrices[]],
): ExpertMatrices {
  const isThere = ({ outProj }: ExpertMatrices) => {
    const name = `${path}.${outProj.replace('*', '0')}`
    return tensors.has(name) || tensors.has(`${name}.weight`)
  }
  return known.find(isThere) ?? known[0]
}

/** How many experts there are, how many of them a token is sent to, and of which groups. */
export function readExpertCounts(
  config: ConfigReader,
  keys: { experts: string; groups?: string; keptGroups?: string },
): Pick<ExpertsConfig, 'numExperts' | 'numChosen'> & { groups: number; keptGroups: number } {
  const numExperts = config.dimension(keys.experts)
  const numChosen = config.dimension('num_experts_per_tok')
  const groups = keys.groups ? config.dimension(keys.groups, 1) : 1
  const keptGroups = keys.keptGroups ? config.dimension(keys.keptGroups, 1) : groups
  if (groups > MOST_GROUPS) {
    config.unsupported(`has ${keys.groups} ${groups}; implemented: up to ${MOST_GROUPS}`)
  }
  if (numExperts % groups !== 0) {
    config.invalid(`${keys.groups} ${groups} does not divide ${keys.experts} ${numExperts}`)
  }
  if (keptGroups > groups) {
    config.invalid(`${keys.keptGroups} ${keptGroups} is more than ${keys.groups} ${groups}`)
  }
  const allowed = (numExperts / groups) * keptGroups
  if (numChosen > allowed) {
    config.invalid(
      `num_experts_per_tok is ${numChosen}, but there are ${allowed} experts to choose from`,
    )
  }
  return { numExperts, numChosen, groups, keptGroups }
}

// As many as `routeExperts` takes.
const MOST_GROUPS = 32
