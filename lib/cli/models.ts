// ssm-metal models: which families of models run here, and where their best known models are published.

import { publishedFamilies } from '../models/families/families.js'
import { defineCommand } from './command.js'
import { exitCodes } from './program.js'

export const modelsCommand = defineCommand({
  name: 'models',
  summary: 'list the families of models that run, with published names, sizes and licences',
  usage: '[--json]',
  options: {
    json: { type: 'boolean', description: 'print one JSON array instead of a table' },
  },
  example: 'ssm-metal models',
  async run({ options }) {
    const families = publishedFamilies.map(({ name, licence, published }) => {
      return { family: name, licence, models: published }
    })
    process.stdout.write(options.json ? `${JSON.stringify(families)}\n` : table(families))
    return exitCodes.success
  },
})

interface Row {
  family: string
  licence: string
  models: (typeof publishedFamilies)[number]['published']
}

function table(families: readonly Row[]): string {
  const widest = (lengths: number[]) => Math.max(...lengths)
  const all = families.flatMap(({ models }) => models)
  const name = widest(all.map((model) => model.name.length))
  const size = widest(all.map((model) => model.parameters.length))
  const blocks = families.map(({ family, licence, models }) => {
    const rows = models.map(
      (model) => `  ${model.name.padEnd(name)}  ${model.parameters.padStart(size)}\n`,
    )
    return `${family} (${licence})\n${rows.join('')}`
  })
  const more =
    'Conversions of these by mlx-lm run as well, and so do others of the same families.\n' +
    'ssm-metal pull NAME downloads one, ssm-metal list shows those that are here.\n'
  return `${blocks.join('\n')}\n${more}`
}
