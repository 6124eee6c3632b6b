// The matrix products of a prompt alone, with float32 weights: how much arithmetic they are, and how fast it goes.

import { PREFILL_CHUNK_SIZE } from '../../../lib/engine/chunks.js'
import { median } from '../../../lib/bench/statistics.js'
import { EXPERT_TILE, mostExpertTiles } from '../../../lib/operations/arguments.js'
import type { CommandList, Device } from '../../../lib/operations/device.js'
import type { Tensor } from '../../../lib/operations/tensor.js'
import { planTensors, type RandomConfig } from '../../random-checkpoint.js'

/** A matrix that a prompt is multiplied by, and how many a model has of this shape. */
interface Product {
  outputs: number
  inputs: number
  count: number
  /** Where there are some, how many of them a token goes to. */
  experts?: { of: number; chosen: number; shared: boolean }
}

export interface ProductRate {
  /** `3352 x 768`, or `1024 x 2048, 8 of 64`. */
  name: string
  count: number
  /** Of all of them, for one chunk of a prompt. */
  operations: number
  seconds: number
  /** Operations that the threads would have done in these seconds, by their peak measured beside. */
  possible: number
}

// More than a cache holds: in a prompt every matrix comes from memory.
const LEAST_BYTES = 64 * 2 ** 20
const REPETITIONS = 5

/** The products of a prompt, without the head, which runs for its last token alone. */
export async function productsOf(config: RandomConfig): Promise<Product[]> {
  const products = new Map<string, Product>()
  const dModel = Number(config.hidden_size ?? config.d_model)
  for (const { shape } of await planTensors(config)) {
    const isExperts = shape.length === 3 && shape[1] !== 1
    if (!isExperts && (shape.length !== 2 || shape[0]! >= Number(config.vocab_size))) continue
    const [outputs, inputs] = shape.slice(-2) as [number, number]
    const key = shape.join()
    const known = products.get(key)
    if (known) known.count += 1
    else {
      const chosen = Number(config.num_experts_per_tok)
      const experts = isExperts && { of: shape[0]!, chosen, shared: inputs === dModel }
      products.set(key, { outputs, inputs, count: 1, ...(experts && { experts }) })
    }
  }
  return [...products.values()]
}

/** Floating-point operations of a token, two for each multiply-add. */
export function operationsOf(products: readonly Product[]): number {
  return products.reduce(
    (sum, { outputs, inputs, count, experts }) =>
      sum + 2 * outputs * inputs * count * (experts?.chosen ?? 1),
    0,
  )
}

/** Times each product with as many rows as a chunk of a prompt has. `peak`: measures operations a second. */
export async function measureProducts(
  device: Device,
  products: readonly Product[],
  peak: () => Promise<number>,
): Promise<ProductRate[]> {
  const rates: ProductRate[] = []
  for (const product of products) {
    const { outputs, inputs, count, experts } = product
    const seconds = count * (await secondsOf(device, product))
    rates.push({
      name: `${outputs} x ${inputs}${experts ? `, ${experts.chosen} of ${experts.of}` : ''}`,
      count,
      operations: PREFILL_CHUNK_SIZE * operationsOf([product]),
      seconds,
      possible: seconds * (await peak()),
    })
  }
  return rates
}

/** Seconds of one product, of the median of some runs. */
async function secondsOf(device: Device, product: Product): Promise<number> {
  const { outputs, inputs, experts } = product
  const bytes = 4 * outputs * inputs * (experts?.of ?? 1)
  const copies = Math.ceil(LEAST_BYTES / bytes)
  const owned: Tensor[] = []
  const floats = (shape: number[]) => {
    const tensor = device.tensor('float32', shape)
    // Any numbers that are no zeros and not denormal.
    tensor.write(Float32Array.from({ length: tensor.elements }, (_, i) => ((i % 251) - 125) / 256))
    owned.push(tensor)
    return tensor
  }
  const weights = Array.from({ length: copies }, () =>
    floats([outputs * (experts?.of ?? 1), inputs]),
  )
  const record = experts ? expertsRecorder(device, product, floats) : plainRecorder(product, floats)
  const list = device.record((cl) => {
    for (const weight of weights) record(cl, weight)
  })
  try {
    return (await medianSeconds(list)) / copies
  } finally {
    list.dispose()
    for (const tensor of owned) tensor.dispose()
  }
}

type Floats = (shape: number[]) => Tensor
type Record = (cl: Parameters<Parameters<Device['record']>[0]>[0], weight: Tensor) => void

function plainRecorder({ outputs, inputs }: Product, floats: Floats): Record {
  const x = floats([1, PREFILL_CHUNK_SIZE, inputs])
  const out = floats([1, PREFILL_CHUNK_SIZE, outputs])
  return (cl, weight) => cl.matmul(x, weight, out, { role: 'chunk' })
}

function expertsRecorder(
  device: Device,
  { outputs, inputs, experts }: Product,
  floats: Floats,
): Record {
  const { of, chosen: k, shared } = experts!
  const rows = PREFILL_CHUNK_SIZE
  const x = floats(shared ? [1, rows, inputs] : [1, rows, k, inputs])
  const out = floats([1, rows, k, outputs])
  // Every expert is chosen as often as any other.
  const chosen = device.tensor(
    'uint32',
    [1, rows, k],
    Uint32Array.from({ length: rows * k }, (_, i) => (i * 7) % of),
  )
  // As a chunk has them: products with one expert together.
  const tiles = device.tensor('uint32', [mostExpertTiles(chosen.elements, of), EXPERT_TILE])
  return (cl, weight) => {
    cl.groupExperts(chosen, tiles, { experts: of })
    cl.expertsMatmul(x, weight, chosen, out, { experts: of, tiles })
  }
}

async function medianSeconds(list: CommandList): Promise<number> {
  await list.run()
  const times: number[] = []
  for (let i = 0; i < REPETITIONS; i++) {
    const start = performance.now()
    await list.run()
    times.push((performance.now() - start) / 1000)
  }
  return median(times)
}
