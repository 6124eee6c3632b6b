// Scalar functions by their definitions.

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

export const silu = (x: number): number => x * sigmoid(x)

/** max(x, 0)², of So et al., 2021 (Primer). */
export const relu2 = (x: number): number => Math.max(x, 0) ** 2

/** x · Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016). */
export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2))

export const softplus = (x: number): number =>
  x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x))

/** The error function: 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·5···(2n+1)), whose terms all have one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let term = x
  let sum = x
  for (let n = 1; n < 200; n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}
