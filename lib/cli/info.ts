// ssm-metal info: what this machine and this build are.

import { createDevice, type DeviceName } from '../device.js'
import { describeMachine } from '../machine.js'
import { defineCommand } from './command.js'
import { formatBytes } from '../format.js'
import { exitCodes } from './program.js'

const TUNED = 'saved by ssm-metal tune'
const NOT_TUNED = "the table of this GPU's family; ssm-metal tune measures here"

export const infoCommand = defineCommand({
  name: 'info',
  summary: 'describe this machine: device, cores, memory, versions',
  usage: '[--device DEVICE] [--json]',
  options: {
    device: {
      type: 'string',
      choices: ['auto', 'cpu', 'metal'],
      default: 'auto',
      placeholder: 'DEVICE',
      description: 'the device to describe',
    },
    json: { type: 'boolean', description: 'print one JSON object instead of a table' },
  },
  example: 'ssm-metal info --json',
  async run({ options }) {
    using device = createDevice(options.device as DeviceName)
    const { version, ...machine } = describeMachine()
    const facts = {
      version,
      device: device.name,
      threads: device.threads,
      ...(device.cpuLevel && { cpuLevel: device.cpuLevel }),
      ...(device.tuning && {
        gpu: device.gpu,
        tuningSource: device.tuningSource,
        tuning: device.tuning,
      }),
      ...machine,
    }
    if (options.json) {
      process.stdout.write(`${JSON.stringify(facts)}\n`)
      return exitCodes.success
    }
    const rows: [string, string][] = [
      ['ssm-metal', facts.version],
      [
        'device',
        [facts.device, `${facts.threads} threads`, facts.cpuLevel].filter(Boolean).join(', '),
      ],
      ['processor', `${facts.processor}, ${facts.cores} cores`],
      ['memory', `${formatBytes(facts.memoryBytes)}, ${formatBytes(facts.freeMemoryBytes)} free`],
      ['system', `${facts.platform} ${facts.architecture} ${facts.system}`],
      ['node', facts.node],
    ]
    if (facts.tuning) {
      const tuning = facts.tuningSource === 'saved' ? TUNED : NOT_TUNED
      rows.splice(2, 0, ['gpu', facts.gpu ?? 'unknown'], ['tuning', tuning])
    }
    process.stdout.write(rows.map(([name, value]) => `${name.padEnd(9)}  ${value}\n`).join(''))
    return exitCodes.success
  },
})
