// What the discrete Mamba-2 layers of Llamba and Mohawk have in common, whatever file they come from.

import type { Mamba2Config } from '../blocks/mamba2.js'

/** What distinguishes one such layer from another. */
type Given = Pick<
  Mamba2Config,
  | 'dInner'
  | 'numHeads'
  | 'nGroups'
  | 'dState'
  | 'dConv'
  | 'projectionBias'
  | 'convBias'
  | 'convActivation'
>

/** A layer without gated norm and without bounds of its steps. `numHeads` divides `dInner`. */
export function discreteMamba2(given: Given): Mamba2Config {
  return {
    kind: 'mamba2',
    ...given,
    headDim: given.dInner / given.numHeads,
    discrete: true,
    hasGatedNorm: false,
    normGroups: 1,
    normBeforeGate: false,
    dtLimit: [0, Number.POSITIVE_INFINITY],
    normEpsilon: 1e-5,
  }
}
