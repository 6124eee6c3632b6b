// Mixtures of experts.

import type { ActivationType } from '../../operations/device.js'
import { ALL_FORMATS, formatName, kindOf } from '../../weights/formats/formats.js'
import { type Case, writing } from './case.js'

const EXPERTS = 6
const CHOSEN = 2

/** Tokens, inputs and outputs of an expert: less than a simdgroup has, and more. */
const SHAPES = [
  [1, 32, 3],
  [9, 384, 37],
] as const

/** Formats whose products are verified: of affine ones those that models are published in. */
const FORMATS = ALL_FORMATS.filter(
  (format) =>
    format.kind !== 'affine' || (format.groupSize === 32 && format.scaleType === 'float16'),
)

export function* expertCases(activationType: ActivationType): Generator<Case> {
  const given = { activationType, dtype: activationType }
  for (const [tokens, inputs, outputs] of SHAPES) {
    const shape = `${tokens} x ${inputs} to ${outputs}, ${CHOSEN} of ${EXPERTS} experts`
    for (const format of FORMATS) {
      const kind = kindOf(format)
      yield {
        ...given,
        operation: kind.product === 'matmul' ? 'experts_matmul' : 'quantized_experts_matmul',
        dtype: `${activationType} x ${formatName(format)}`,
        shape,
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
    yield {
      ...given,
      operation: 'mix_experts',
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
}

/** Choosing them. */
export function* routingCases(): Generator<Case> {
  for (const [experts, chosen, groups] of [
    [8, 2, 1],
    [96, 6, 8],
  ] as const) {
    yield {
      operation: 'route_experts',
      dtype: 'float32',
      activationType: 'float32',
      shape: `7 of ${experts} experts, ${chosen} chosen${groups > 1 ? `, ${groups} groups` : ''}`,
      build(inputs) {
        const tensors = {
          logits: inputs.floats([7, experts], 4),
          bias: inputs.floats([experts], 0.1),
          experts: inputs.result([7, chosen], 'uint32'),
          weights: inputs.result([7, chosen]),
        }
        const options = {
          scores: 'sigmoid',
          normalised: true,
          groups,
          keptGroups: Math.ceil(groups / 2),
        } as const
        return {
          record: (cl) => cl.routeExperts(tensors, options),
          outputs: [tensors.experts, tensors.weights],
        }
      },
    }
  }
}
