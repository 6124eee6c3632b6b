// Checks of mixtures of experts.

import {
  ACTIVATIONS,
  EXPERT_TILE,
  type ExpertsOptions,
  type RouteExpertsOptions,
  mostExpertTiles,
  type RouteExpertsTensors,
} from '../arguments.js'
import type { Checker } from '../checker.js'
import { formatShape, type Tensor } from '../tensor.js'
import { ACTIVATION_NUMBERS } from './linear.js'

/** As many groups as a word has bits. */
const MOST_GROUPS = 32

export function checkRouteExperts(
  check: Checker,
  { logits, bias, experts, weights }: RouteExpertsTensors,
  options: RouteExpertsOptions,
) {
  check.options(options, ['scores', 'normalised', 'epsilon', 'scale', 'groups', 'keptGroups'])
  const { scores, normalised = false, epsilon = 0, scale = 1, groups = 1 } = options
  const { keptGroups = groups } = options
  const [count, chosen] = [logits.cols, experts.cols]
  const leading = logits.shape.slice(0, -1)
  check.float32({ logits, bias, weights })
  check.output('logits', logits, logits.shape)
  if (bias) check.output('bias', bias, [count])
  check.integers('experts', experts, [...leading, chosen])
  check.output('weights', weights, [...leading, chosen])
  check.oneOf('scores', scores, ['softmax', 'sigmoid'])
  check.notNegative('epsilon', epsilon)
  check.finite('scale', scale)
  check.divides('groups', groups, 'the experts', count)
  if (groups > MOST_GROUPS) check.fail(`groups must be at most ${MOST_GROUPS} but is ${groups}`)
  check.positive('keptGroups', keptGroups)
  if (keptGroups > groups) {
    check.fail(`keptGroups must be at most groups, ${groups}, but is ${keptGroups}`)
  }
  const allowed = (count / groups) * keptGroups
  if (chosen > allowed) {
    check.fail(`experts has ${chosen} columns, but only ${allowed} experts may be chosen`)
  }
  return {
    rows: logits.rows,
    experts: count,
    chosen,
    groups,
    kept_groups: keptGroups,
    sigmoid: scores === 'sigmoid' ? 1 : 0,
    normalised: normalised ? 1 : 0,
    has_bias: bias ? 1 : 0,
    epsilon,
    scale,
  }
}

export function checkGroupExperts(
  check: Checker,
  chosen: Tensor,
  tiles: Tensor,
  options: { experts: number },
) {
  check.options(options, ['experts'])
  check.positive('experts', options.experts)
  check.integers('chosen', chosen, chosen.shape)
  return checkTiles(check, chosen, tiles, options.experts)
}

function checkTiles(check: Checker, chosen: Tensor, tiles: Tensor, experts: number) {
  const needed = mostExpertTiles(chosen.elements, experts)
  check.integers('tiles', tiles, [needed, EXPERT_TILE])
  return { rows: chosen.elements, experts, tiles: needed }
}

/** A product with experts whose weight has `rows` rows of `inputs` columns. */
export function checkExperts(
  check: Checker,
  x: Tensor,
  weight: { rows: number; inputs: number },
  chosen: Tensor,
  out: Tensor,
  options: ExpertsOptions,
) {
  check.options(options, ['activation', 'gate', 'experts', 'expertRows', 'tiles'])
  const { activation, gate, experts, tiles } = options
  const [rows, outputs] = [chosen.elements, out.cols]
  const { expertRows = outputs } = options
  check.activations({ x })
  check.activations({ out, gate })
  check.integers('chosen', chosen, chosen.shape)
  if (x.cols !== weight.inputs) {
    check.fail(
      `x must have ${weight.inputs} columns, as the weight has inputs, but has shape ${formatShape(x.shape)}`,
    )
  }
  if (x.rows !== rows && x.rows !== chosen.rows) {
    check.fail(
      `x must have a row for each of ${chosen.rows} tokens or of ${rows} chosen experts but has shape ${formatShape(x.shape)}`,
    )
  }
  check.output('out', out, [...chosen.shape, outputs])
  if (gate) check.output('gate', gate, out.shape)
  if (activation !== undefined) check.oneOf('activation', activation, ACTIVATIONS)
  check.positive('experts', experts)
  check.positive('expertRows', expertRows)
  if (tiles) checkTiles(check, chosen, tiles, experts)
  const needed = (experts - 1) * expertRows + outputs
  if (needed > weight.rows) {
    check.fail(
      `${experts} experts, ${expertRows} rows apart, need ${needed} rows, but the weight has ${weight.rows}`,
    )
  }
  return {
    rows,
    sharing: rows / x.rows,
    inputs: weight.inputs,
    outputs,
    x_stride: x.rowStride,
    experts,
    expert_rows: expertRows,
    activation: ACTIVATION_NUMBERS[activation ?? 'identity'],
    gated: gate ? 1 : 0,
  }
}
