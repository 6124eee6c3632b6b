/** An operation as its header in metal/ states it. */
export interface StatedOperation {
  name: string
  apiName: string
  struct: string
  fields: { name: string; isFloat: boolean }[]
  buffers: { name: string; access: string; isOptional: boolean }[]
}

/** Every operation of a tree, in the order of its number. Throws for a header that states one wrongly. */
export function readOperations(folder?: string): StatedOperation[]

/** rms_norm -> rmsNorm */
export function apiName(name: string): string
