// ssm-metal info: what this machine and this build are. Works without the addon, and says why it did not load.

import { addonFile } from '../operations/addon.js'
import { thisHost } from '../addon/host.js'
import { createDevice } from '../operations/create-device.js'
import type { DeviceName } from '../operations/device-options.js'
import type { DeviceMemory } from '../operations/device.js'
import { AddonNotFoundError } from '../support/errors.js'
import { defaultPromptCacheBytes } from '../load-model.js'
import { describeMachine, type Machine } from '../machine/machine.js'
import { type SelfCheckSummary, selfCheckSummaries } from '../self-check/known.js'
import { whatWasVerified } from '../verify/verified.js'
import { showNotice } from './notice.js'
import { defineCommand } from './command.js'
import { formatBytes } from '../support/format.js'
import { modelOptions } from './options.js'
import { exitCodes } from './program.js'
import { wrap } from '../support/wrap.js'

const TUNED = 'saved by ssm-metal tune'
const NOT_TUNED = "the table of this GPU's family; ssm-metal tune measures here"

export const infoCommand = defineCommand({
  name: 'info',
  summary: 'describe this machine: device, cores, memory, versions',
  usage: '[--device DEVICE] [--json]',
  options: {
    device: { ...modelOptions.device, description: 'the device to describe' },
    json: { type: 'boolean', description: 'print one JSON object instead of a table' },
  },
  example: 'ssm-metal info --json',
  async run({ options }) {
    const device = describeDevice(options.device as DeviceName)
    const { version, ...machine } = describeMachine()
    // What is free on a Mac only the addon knows.
    const promptCacheBytes = device.addonFailure ? null : defaultPromptCacheBytes()
    const verified = whatWasVerified(thisHost())
    const text = options.json
      ? `${JSON.stringify({ version, ...device, ...machine, promptCacheBytes, verified })}\n`
      : table(version, device, { ...machine, promptCacheBytes }, verified)
    process.stdout.write(text)
    return exitCodes.success
  },
})

/** The device, or why there is none. */
function describeDevice(name: DeviceName) {
  try {
    using device = createDevice(name, { onNotice: showNotice })
    return {
      addon: addonFile().name,
      device: device.name,
      threads: device.threads,
      ...(device.cpuLevel && { cpuLevel: device.cpuLevel }),
      ...(device.tuning && {
        gpu: device.gpu,
        tuningSource: device.tuningSource,
        tuning: device.tuning,
        gpuMemory: device.memory,
      }),
      selfCheck: selfCheckSummaries(),
    }
  } catch (error) {
    if (!(error instanceof AddonNotFoundError)) throw error
    return { addon: null, addonFailure: { reason: error.reason, message: error.message } }
  }
}

type DeviceFacts = ReturnType<typeof describeDevice>

function table(
  version: string,
  device: DeviceFacts,
  machine: Omit<Machine, 'version'> & { promptCacheBytes: number | null },
  verified: string,
): string {
  const system = `${machine.platform} ${machine.architecture} ${machine.system}`
  const rosetta =
    'an Intel build, translated by Rosetta 2: slow and without GPU; install the arm64 build'
  const rows: [string, string][] = [
    ['ssm-metal', version],
    ...deviceRows(device),
    ['processor', `${machine.processor}, ${machine.cores} cores`],
    ['memory', `${formatBytes(machine.memoryBytes)}, ${formatBytes(machine.freeMemoryBytes)} free`],
    ...promptCacheRows(machine.promptCacheBytes),
    ['system', machine.systemName ? `${machine.systemName}, ${system}` : system],
    ['node', machine.translated ? `${machine.node}, ${rosetta}` : machine.node],
    ['verified', verified],
  ]
  const lines = rows.flatMap(([name, value]) =>
    wrap(value, 100).map((line, i) => `${(i === 0 ? name : '').padEnd(9)}  ${line}\n`),
  )
  const failure = device.addonFailure ? `\n${device.addonFailure.message}\n` : ''
  return lines.join('') + failure
}

function promptCacheRows(bytes: number | null): [string, string][] {
  if (bytes === null) return []
  const text = `a model's prompt cache takes up to ${formatBytes(bytes)} now, unless it is told otherwise`
  return [['', text]]
}

function gpuMemory({ budget, inUse, largestBuffer }: DeviceMemory): string {
  const [most, used, largest] = [budget, inUse, largestBuffer].map(formatBytes)
  return `${most} for a process, ${used} in use, tensors up to ${largest}`
}

function deviceRows(device: DeviceFacts): [string, string][] {
  if (device.addonFailure) return [['device', 'none: the native addon did not load, see below']]
  const { name, rest } = {
    name: device.device,
    rest: [`${device.threads} threads`, device.cpuLevel].filter(Boolean),
  }
  const rows: [string, string][] = [['device', [name, ...rest].join(', ')]]
  if (device.tuning) {
    rows.push(['gpu', device.gpu ?? 'unknown'])
    if (device.gpuMemory) rows.push(['', gpuMemory(device.gpuMemory)])
    rows.push(['tuning', device.tuningSource === 'saved' ? TUNED : NOT_TUNED])
  }
  for (const [name, summary] of Object.entries(device.selfCheck)) {
    rows.push(['checked', `${name}: ${describeSummary(summary)}`])
  }
  const origin = device.addon.startsWith('prebuilds') ? 'prebuilt' : 'compiled here'
  rows.push(['addon', `${device.addon} (${origin})`])
  return rows
}

function describeSummary({ result, checks, checked, failure }: SelfCheckSummary): string {
  if (checked === undefined) return 'not yet: the first model that is loaded there checks it'
  const when = checked.slice(0, 10)
  if (result === 'failed') return `FAILED on ${when}, not used: ${failure}`
  return `${checks} self-checks passed, the last one on ${when}`
}
