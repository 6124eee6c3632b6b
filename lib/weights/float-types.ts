// The float types that devices compute with.

import type { FileDtype } from './checkpoint.js'

export const FLOAT_TYPES = ['float32', 'float16', 'bfloat16'] as const
export type FloatType = (typeof FLOAT_TYPES)[number]

/** A float type of a file in memory: float64 becomes float32. Undefined for a type that is no float. */
export function floatTypeOf(dtype: FileDtype): FloatType | undefined {
  if (dtype === 'float64') return 'float32'
  return FLOAT_TYPES.find((type) => type === dtype)
}
