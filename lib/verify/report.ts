// What `verify --report` prints: one block to paste into an issue. Machine, versions and results, and
// nothing that names a person: no host name, no serial number, no path outside the package.

import { formatBytes, formatDuration } from '../support/format.js'
import type { Machine } from '../machine/machine.js'
import type { MachineDetails } from '../machine/machine-details.js'
import type { Verification } from './verify.js'

export interface ReportFacts {
  machine: Machine
  details: MachineDetails
  /** The addon's file, from the package's folder; why it did not load, or no device was to be had. */
  addon: string
  device?:
    | {
        name: string
        threads: number
        cpuLevel: string | undefined
        gpu: string | undefined
        /** Where a GPU's tuning comes from. */
        tuning: string | undefined
      }
    | undefined
  failure?: string | undefined
  verifications: readonly Verification[]
  milliseconds: number
  /** Options that left something out. */
  options: string
}

/** An issue has room for 65,536 characters. */
const MOST_FAILURES = 60

const CUT = '-'.repeat(20)

/** The block, with a line above and below that says what it is for. */
export function formatReport(facts: ReportFacts): string {
  const lines = [
    `${CUT} from here on: paste this into an issue ${CUT}`,
    '```text',
    ...headLines(facts),
    ...(facts.verifications.length > 0 ? ['', ...tableLines(facts.verifications)] : []),
    ...failureLines(facts),
    '```',
    `${CUT} up to here ${CUT}`,
  ]
  return `${lines.join('\n')}\n`
}

function headLines({ machine, details, addon, device, ...facts }: ReportFacts): string[] {
  const { verifications, milliseconds, options } = facts
  const failed = verifications.filter(({ passed }) => !passed).length
  const cores = `${machine.cores} cores${details.coreKinds ? ` (${details.coreKinds})` : ''}`
  const list = (...parts: (string | false | undefined)[]) => parts.filter(Boolean).join(', ')
  const rows: [string, string][] = [
    ['ssm-metal', list(machine.version, addon)],
    ['machine', list(details.model, machine.processor, cores, formatBytes(machine.memoryBytes))],
    [
      'system',
      list(machine.systemName, `${machine.platform} ${machine.architecture} ${machine.system}`),
    ],
    ['node', list(machine.node, machine.translated && 'an Intel build, translated by Rosetta 2')],
  ]
  if (device) {
    const gpuCores = details.gpuCores && device.gpu ? `${details.gpuCores} GPU cores` : undefined
    const threads = !device.gpu && `${device.threads} threads`
    rows.push(['device', list(device.name, device.gpu, gpuCores, threads, device.cpuLevel)])
    if (device.tuning) rows.push(['tuning', device.tuning])
    const all =
      failed === 0 ? `all ${verifications.length}` : `${failed} of ${verifications.length}`
    rows.push([
      'result',
      list(
        `${all} cases ${failed === 0 ? 'within' : 'OUTSIDE'} their limits`,
        `in ${formatDuration(milliseconds)}`,
        options && `with ${options}`,
      ),
    ])
  } else {
    rows.push(['result', 'nothing could be verified'])
  }
  return rows.map(([name, value]) => `${name.padEnd(9)}  ${value}`)
}

/** A row an operation and type: how many cases, how close to the limit the worst came, the best GB/s. */
function tableLines(verifications: readonly Verification[]): string[] {
  const groups = new Map<string, Verification[]>()
  for (const each of verifications) {
    const key = `${each.operation} ${each.dtype}`
    groups.set(key, [...(groups.get(key) ?? []), each])
  }
  const widths = [17, 29, 5, 7, 12, 6]
  const row = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join(' ')
      .trimEnd()
  const rows = [...groups.values()].map((group) => {
    const { operation, dtype } = group[0]!
    const failed = group.filter(({ passed }) => !passed).length
    const shares = group.map(({ error, limit }) => (error === 0 ? 0 : error / limit))
    const worst = Math.max(...shares)
    const fastest = Math.max(...group.map(({ gigabytesPerSecond }) => gigabytesPerSecond))
    return row([
      operation,
      dtype,
      String(group.length),
      failed === 0 ? '-' : String(failed),
      worst === 0 ? '0' : Number.isFinite(worst) ? worst.toPrecision(2) : '-',
      fastest.toFixed(fastest < 10 ? 2 : 0),
    ])
  })
  return [row(['operation', 'dtype', 'cases', 'outside', 'error/limit', 'GB/s']), ...rows]
}

function failureLines({ verifications, failure }: ReportFacts): string[] {
  if (failure !== undefined) return ['', failure]
  const failed = verifications.filter(({ passed }) => !passed)
  if (failed.length === 0) return []
  const shown = failed.slice(0, MOST_FAILURES).map(({ operation, dtype, shape, ...rest }) => {
    const how =
      rest.failure ?? `error ${rest.error.toExponential(2)}, limit ${rest.limit.toExponential(2)}`
    return `${operation}  ${dtype}  ${shape}: ${how}`
  })
  const others = failed.length - shown.length
  return ['', 'outside their limits:', ...shown, ...(others > 0 ? [`and ${others} more`] : [])]
}
