// ssm-metal build: compiles the addon on this machine.

import { buildAddon } from '../addon/build.js'
import { loadAddon } from '../addon/load.js'
import { defineCommand } from './command.js'
import { exitCodes } from './program.js'

export const buildCommand = defineCommand({
  name: 'build',
  summary: 'compile the native addon here, where no prebuilt binary fits',
  usage: '',
  options: {},
  example: 'npx ssm-metal build',
  async run() {
    await buildAddon(2)
    const { path } = loadAddon()
    process.stdout.write(`compiled and loaded ${path}\n`)
    return exitCodes.success
  },
})
