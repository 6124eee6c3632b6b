// The real mlx-lm, from PyPI, in an ignored folder: npm run test:mlx makes it.

import { fileURLToPath } from 'node:url'
import { installPackages } from '../../scripts/python-packages.js'

const [MLX, MLX_LM, TRANSFORMERS] = ['0.32.4', '0.32.2', '5.24.0']

// On a Mac it has a GPU as well; elsewhere its kernels for CPUs are a package of their own.
const mlx = process.platform === 'linux' ? 'mlx[cpu]' : 'mlx'

/** Where its packages are: PYTHONPATH. */
export const MLX_PACKAGES = fileURLToPath(
  new URL(`../../.cache/mlx-${MLX}-lm-${MLX_LM}`, import.meta.url),
)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const packages = [`${mlx}==${MLX}`, `mlx-lm==${MLX_LM}`, `transformers==${TRANSFORMERS}`]
  installPackages(MLX_PACKAGES, packages, { lead: `[mlx] mlx-lm ${MLX_LM}`, hashed: false })
}
