// The real lm-eval-harness, from PyPI, in an ignored folder: npm run lm-eval makes it.

import { fileURLToPath } from 'node:url'
import { installPackages } from '../../scripts/python-packages.js'

const LM_EVAL = '0.4.13'

// What it imports where the model is another program: no PyTorch, and nothing that would have to be built.
const NEEDED = [
  ...['datasets==5.2.0', 'jinja2==3.1.6', 'more-itertools==11.2.1'],
  ...['pytablewriter==1.2.1', 'requests==2.34.2', 'sacrebleu==2.6.0'],
]

/** Where its packages are: PYTHONPATH. */
export const LM_EVAL_PACKAGES = fileURLToPath(
  new URL(`../../.cache/lm-eval-${LM_EVAL}`, import.meta.url),
)

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  installPackages(LM_EVAL_PACKAGES, NEEDED, {
    lead: `[lm-eval] lm-eval ${LM_EVAL}`,
    hashed: false,
    alone: [`lm-eval==${LM_EVAL}`],
  })
}
