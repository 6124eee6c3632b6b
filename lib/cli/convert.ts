// ssm-metal convert: a checkpoint in the layout of mlx-lm, perhaps quantised.

import { convert } from '../convert/convert.js'
import { CONVERT, CONVERT_QUANTIZATION } from '../options/converting.js'
import { formatBytes } from '../support/format.js'
import { defineCommand, UsageError } from './command.js'
import { flagsOf, optionsOf } from './flags.js'
import { interruptible } from './interrupt.js'
import { showNotice } from './notice.js'
import { exitCodes } from './program.js'
import { ProgressLine } from './progress.js'

const quantization = flagsOf(CONVERT_QUANTIZATION)

export const convertCommand = defineCommand({
  name: 'convert',
  summary: 'write a model in the layout of mlx-lm, quantised with -q',
  usage: '-m MODEL -o FOLDER [-q] [options]',
  options: {
    model: {
      type: 'string',
      short: 'm',
      placeholder: 'MODEL',
      description: 'file, folder, or Hub name of a model',
    },
    output: {
      type: 'string',
      short: 'o',
      placeholder: 'FOLDER',
      description: 'the new folder; an error where there is something in it',
    },
    quantize: { type: 'boolean', short: 'q', description: 'quantise the weights' },
    ...quantization,
    ...flagsOf(CONVERT),
    json: { type: 'boolean', description: 'print one JSON object instead of a line' },
  },
  example:
    'ssm-metal convert -m ./mamba2-1.3b -o ./mamba2-1.3b-4bit -q\n' +
    '  ssm-metal convert -m ./granite-h -o ./granite-h-mxfp4 -q --q-mode mxfp4\n' +
    '  ssm-metal convert -m ./mamba2-1.3b -o ./mamba2-1.3b-f16 --dtype float16',
  async run({ options }) {
    const { model, output } = options
    if (model === undefined) throw new UsageError('no model given: add -m MODEL')
    if (output === undefined) throw new UsageError('no folder given: add -o FOLDER')
    const { quantize, ...others } = optionsOf(CONVERT, options)
    const asked = Object.entries(quantize ?? {}).find(([, value]) => value !== undefined)
    if (asked && !options.quantize) {
      const name = CONVERT_QUANTIZATION[asked[0] as keyof typeof CONVERT_QUANTIZATION].flag.name
      throw new UsageError(`--${name} changes nothing without -q: add it`)
    }
    return interruptible(async (signal) => {
      const line = new ProgressLine()
      const result = await convert(model, output, {
        quantize: options.quantize ? (quantize ?? {}) : undefined,
        ...others,
        signal,
        onProgress: (progress) => line.update(progress),
        onNotice(notice) {
          line.clear()
          showNotice(notice)
        },
      }).finally(() => line.clear())
      process.stdout.write(
        options.json
          ? `${JSON.stringify(result)}\n`
          : `${result.path}: ${formatBytes(result.bytes)}, ${result.bitsPerWeight.toFixed(3)} bits per weight\n`,
      )
      return exitCodes.success
    })
  },
})
