// Products with a matrix, and rows of one.

/** W x + b of one row: weight has a row for each output. */
export function linear(row: number[], weight: number[][], bias?: number[]): number[] {
  return weight.map((w, n) => w.reduce((sum, wk, k) => sum + wk * row[k]!, bias?.[n] ?? 0))
}

/** A row of the table for each token. */
export function embedding(tokens: number[], table: number[][]): number[][] {
  return tokens.map((token) => table[token]!)
}
