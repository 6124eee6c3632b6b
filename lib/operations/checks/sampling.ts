// Checks of what turns rows of logits into tokens.

import { formatShape } from '../tensor.js'
import type {
  KeepLogitsTensors,
  ResolveRowsTensors,
  SampleTensors,
  TokenLogprobsTensors,
} from '../arguments.js'
import type { Checker } from '../checker.js'

export function checkResolveRows(
  check: Checker,
  { slots, remaining, token, position, rows, positions, tokens }: ResolveRowsTensors,
  count: number,
) {
  const batch = slots.elements
  check.integers('slots', slots, [batch])
  check.integers('remaining', remaining, [remaining.elements])
  for (const [name, tensor] of Object.entries({ token, position })) {
    check.integers(name, tensor, remaining.shape)
  }
  for (const [name, tensor] of Object.entries({ rows, positions, tokens })) {
    if (tensor) check.integers(name, tensor, [batch])
  }
  // 0: the rows stay where they are.
  if (count !== 0) check.positive('count', count)
  return { batch, slots: remaining.elements, count, has_tokens: tokens ? 1 : 0 }
}

export function checkKeepLogits(check: Checker, { logits, rows, kept }: KeepLogitsTensors) {
  check.float32({ logits, kept })
  const [batch, vocabulary] = check.matrix('logits', logits)
  check.rows({ rows }, batch)
  const [slots] = check.matrix('kept', kept)
  check.output('kept', kept, [slots, vocabulary])
  return { batch, slots, vocabulary }
}

export function checkSample(check: Checker, tensors: SampleTensors) {
  const { logits, settings, stops, biases, history, mask, report } = tensors
  const { position, remaining, out, counts } = tensors
  check.float32({ settings })
  check.dimensions('settings', settings, 2)
  const slots = settings.shape[0]!
  check.output('settings', settings, [slots, 6])
  const common = checkLogits(check, tensors, slots)
  const { batch, vocabulary } = common
  for (const [name, tensor] of Object.entries({ stops, biases, history })) {
    check.dimensions(name, tensor, 2)
    check.integers(name, tensor, [slots, tensor.cols])
  }
  if (biases.cols % 2 !== 0) {
    check.fail(
      `biases must have an even number of columns but has shape ${formatShape(biases.shape)}`,
    )
  }
  check.integers('mask', mask, [slots, Math.ceil(vocabulary / 32)])
  check.integers('counts', counts, [slots, vocabulary])
  for (const [name, tensor] of Object.entries({ position, remaining, out })) {
    check.integers(name, tensor, [slots])
  }
  check.integers('report', report, [batch, 2])
  return {
    ...common,
    stops: stops.cols,
    biases: biases.cols / 2,
    history_length: history.cols,
    has_logits: logits ? 1 : 0,
  }
}

export function checkTokenLogprobs(check: Checker, tensors: TokenLogprobsTensors) {
  const { logits, token, reported, logprobs } = tensors
  check.dimensions('reported', reported, 2)
  const [slots, places] = reported.shape as [number, number]
  const common = checkLogits(check, tensors, slots)
  check.integers('token', token, [slots])
  check.integers('reported', reported, [slots, places])
  check.float32({ logprobs })
  check.output('logprobs', logprobs, [slots, places])
  return { ...common, places, has_logits: logits ? 1 : 0 }
}

// Of operations on rows of logits, given or kept, and on what their slots ask for.
function checkLogits(
  check: Checker,
  { logits, rows, selection, kept }: Pick<SampleTensors, 'logits' | 'rows' | 'selection' | 'kept'>,
  slots: number,
) {
  check.float32({ logits, kept })
  const vocabulary = check.matrix(logits ? 'logits' : 'kept', logits ?? kept)[1]
  const batch = logits ? logits.shape[0]! : rows.elements
  check.rows({ rows }, batch)
  check.integers('selection', selection, [slots, 8])
  check.output('kept', kept, [slots, vocabulary])
  return { batch, slots, vocabulary }
}
