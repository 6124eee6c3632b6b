// Mixtures of experts.

import {
  EXPERT_TILE,
  mostExpertTiles,
  type RouteExpertsOptions,
} from '../../operations/arguments.js'
import type { ActivationType } from '../../operations/device.js'
import {
  ALL_FORMATS,
  formatName,
  kindOf,
  type WeightFormat,
} from '../../weights/formats/formats.js'
import { type Case, writing } from './case.js'

const EXPERTS = 6
const CHOSEN = 2

/** Tokens, inputs and outputs of an expert: less than a simdgroup has, and more. */
const SHAPES = [
  [1, 32, 3],
  [9, 384, 37],
] as const
type Shape = readonly [tokens: number, inputs: number, outputs: number]

/** What tokens of a chunk choose. */
interface Choice {
  tokens: number
  /** Of each token. */
  chosen: number
  experts: number
  /** Experts that are chosen: the others get nothing. */
  used: number
}
const choice = (tokens: number, chosen: number, experts: number, used = experts): Choice => ({
  ...{ tokens, chosen, experts, used },
})
const inWords = ({ tokens, chosen, experts, used }: Choice) =>
  `${tokens} tokens, ${chosen} of ${experts} experts${used < experts ? `, ${used} of them used` : ''}`

// Around a tile of 32, and fewer with an expert than are worth one.
const CHUNKS: readonly Choice[] = [
  choice(1, 1, 1),
  choice(33, 1, 3, 1),
  choice(20, 2, 5, 4),
  choice(67, 4, 6),
]
const USUAL_CHUNK = CHUNKS[3]!

/** Formats whose products are verified: of affine ones those that models are published in. */
const FORMATS = ALL_FORMATS.filter(
  (format) =>
    format.kind !== 'affine' || (format.groupSize === 32 && format.scaleType === 'float16'),
)

export function* expertCases(activationType: ActivationType): Generator<Case> {
  for (const shape of SHAPES) {
    for (const format of FORMATS) yield expertProductCase(format, activationType, shape)
    yield mixCase(activationType, shape)
  }
  for (const format of FORMATS) {
    for (const chunk of CHUNKS) yield expertChunkCase(format, activationType, chunk)
  }
  yield mixCase(activationType, [70, 1, 400]) // threads share it
}

/** A product with the experts that tokens have chosen, of weights in one format. */
export function expertProductCase(
  format: WeightFormat,
  activationType: ActivationType,
  [tokens, inputs, outputs]: Shape = SHAPES[1],
): Case {
  const isPlain = kindOf(format).product === 'matmul'
  return {
    activationType,
    operation: isPlain ? 'experts_matmul' : 'quantized_experts_matmul',
    dtype: `${activationType} x ${formatName(format)}`,
    shape: `${tokens} x ${inputs} to ${outputs}, ${CHOSEN} of ${EXPERTS} experts`,
    build(inputsOf) {
      const weight = inputsOf.weight(format, EXPERTS * outputs, inputs)
      const x = inputsOf.activations([tokens, inputs])
      const chosen = inputsOf.randomIntegers([tokens, CHOSEN], EXPERTS)
      const gate = inputsOf.activations([tokens, CHOSEN, outputs])
      const out = inputsOf.activationResult([tokens, CHOSEN, outputs])
      const options = { experts: EXPERTS, activation: 'silu', gate } as const
      return writing(out, (cl) => weight.multiplyExperts(cl, x, chosen, out, options))
    },
  }
}

/**
 * A product of a chunk. Of several experts a token it is one as of the first matrix of an expert, else as of the last: with
 * a row of x for each product, and without activation and gate.
 */
export function expertChunkCase(
  format: WeightFormat,
  activationType: ActivationType,
  given: Choice = USUAL_CHUNK,
): Case {
  const { tokens, chosen: numChosen, experts, used } = given
  const { product, inputMultiple } = kindOf(format)
  const isFirst = numChosen > 1
  const multiple = inputMultiple(format)
  const [inputs, outputs] = [multiple === 1 ? 75 : 3 * multiple, isFirst ? 37 : 70]
  return {
    activationType,
    operation: product === 'matmul' ? 'experts_matmul' : 'quantized_experts_matmul',
    dtype: `${activationType} x ${formatName(format)}`,
    shape: `${inputs} to ${outputs}, ${inWords(given)}`,
    build(inputsOf) {
      const leading = [tokens, numChosen]
      const expertRows = isFirst ? 2 * outputs : outputs
      const weight = inputsOf.weight(format, experts * expertRows, inputs)
      const x = inputsOf.activations([...(isFirst ? [tokens] : leading), inputs])
      const chosen = inputsOf.randomIntegers(leading, used)
      const tiles = inputsOf.result(
        [mostExpertTiles(tokens * numChosen, experts), EXPERT_TILE],
        'uint32',
      )
      const out = inputsOf.activationResult([...leading, outputs])
      const gate = isFirst ? inputsOf.activations(out.shape) : undefined
      const activation = isFirst ? 'silu' : undefined
      return writing(out, (cl) => {
        cl.groupExperts(chosen, tiles, { experts })
        weight.multiplyExperts(cl, x, chosen, out, {
          ...{ experts, expertRows, activation, gate, tiles },
        })
      })
    },
  }
}

/** The sum of what they give. */
export function mixCase(
  activationType: ActivationType,
  [tokens, , outputs]: Shape = SHAPES[1],
): Case {
  return {
    activationType,
    operation: 'mix_experts',
    dtype: activationType,
    shape: `${tokens} x ${outputs}, ${CHOSEN} experts`,
    build(inputsOf) {
      const x = inputsOf.activations([tokens, CHOSEN, outputs])
      const weights = inputsOf.floats([tokens, CHOSEN])
      const residual = inputsOf.floats([tokens, outputs])
      const out = inputsOf.result([tokens, outputs])
      return writing(out, (cl) => cl.mixExperts(x, weights, out, { residual }))
    },
  }
}

/** Choosing them. */
export function* routingCases(): Generator<Case> {
  for (const [tokens, experts, chosen, groups] of [
    [7, 8, 2, 1],
    [7, 96, 6, 8],
    [300, 96, 6, 8], // threads share it
  ] as const) {
    const keptGroups = Math.ceil(groups / 2)
    yield routingCase(
      { tokens, experts, chosen },
      { scores: 'sigmoid', normalised: true, groups, keptGroups },
    )
  }
}

/** Which products each of them has. */
export function* groupingCases(): Generator<Case> {
  for (const given of [...CHUNKS, choice(300, 6, 96, 70)]) {
    const { tokens, chosen, experts, used } = given
    yield {
      operation: 'group_experts',
      dtype: 'uint32',
      activationType: 'float32',
      shape: inWords(given),
      build(inputs) {
        const choices = inputs.randomIntegers([tokens, chosen], used)
        const tiles = inputs.result(
          [mostExpertTiles(tokens * chosen, experts), EXPERT_TILE],
          'uint32',
        )
        return writing(tiles, (cl) => cl.groupExperts(choices, tiles, { experts }))
      },
    }
  }
}

/** Choosing so many of so many, by scores and a bias. */
export function routingCase(
  { tokens = 7, experts, chosen }: { tokens?: number; experts: number; chosen: number },
  options: RouteExpertsOptions,
): Case {
  const { groups = 1, scores } = options
  const parts = groups > 1 ? `, ${groups} groups` : ''
  const kind = scores === 'softmax' ? ', softmax' : ''
  return {
    operation: 'route_experts',
    dtype: 'float32',
    activationType: 'float32',
    shape: `${tokens} of ${experts} experts, ${chosen} chosen${parts}${kind}`,
    build(inputs) {
      const tensors = {
        logits: inputs.floats([tokens, experts], 4),
        bias: inputs.floats([experts], 0.1),
        experts: inputs.result([tokens, chosen], 'uint32'),
        weights: inputs.result([tokens, chosen]),
      }
      return {
        record: (cl) => cl.routeExperts(tensors, options),
        outputs: [tensors.experts, tensors.weights],
      }
    },
  }
}
