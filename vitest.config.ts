import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { HAS_NODE_22, NODE_22 } from './test/clients/node-22.js'
import { LM_EVAL_PACKAGES } from './test/lm-eval/environment.js'
import { MLX_PACKAGES } from './test/mlx/environment.js'
import { BROWSER } from './test/page/environment.js'
import { compile } from './test/support/compiled.js'

compile()

// Nothing is fetched from the Hub: tests of downloads have a server of their own, and say so.
process.env.HF_HUB_OFFLINE = '1'

// Forks, because a native addon that crashes must not take the runner with it.
const test = { pool: 'forks', testTimeout: 60_000 } as const
// One process for file after file: a new one takes longer than most suites of an operation.
const operations = { ...test, isolate: false } as const

// What asks how late the event loop is gets the machine for itself.
const alone = ['test/models/event-loop.test.ts', 'test/ops/event-loop.test.ts']

// Compares bits of an operation's rows: one order of threads is enough, and races are found by its own suite.
const rowTests = ['test/ops/batch-invariance.test.ts']

// The operations that have dispatch code: other files of the folder have no such test. And what holds for
// several of them.
const operationTests = [
  'test/ops/operation-errors.test.ts',
  'test/ops/quantized-reference.test.ts',
  ...readdirSync(new URL('native/metal/operations', import.meta.url))
    .filter((name) => name.endsWith('.cpp'))
    .map((name) => `test/ops/${basename(name, '.cpp').replaceAll('_', '-')}.test.ts`)
    .filter((path) => existsSync(new URL(path, import.meta.url))),
]

const rig = fileURLToPath(new URL('test/software-metal/build', import.meta.url))
// What somebody has tuned on the rig does not change what is tested. Products of the size that a GPU is
// checked with take an emulated device minutes: those who test the self-check turn it on.
const cache = {
  XDG_CACHE_HOME: join(rig, 'cache'),
  SSM_METAL_SELF_CHECK: 'off',
  SSM_METAL_GPU_TIMEOUT: '3600',
}

/** Suites of operations on the Metal device over its stand-in, when that addon has been built. */
function onTheRig(
  name: string,
  addon: string,
  env: Record<string, string> = {},
  include = operationTests,
) {
  const path = join(rig, 'Release', addon)
  if (!existsSync(path)) return []
  return [
    {
      test: {
        ...operations,
        name,
        include,
        env: { SSM_METAL_ADDON: path, ...cache, ...env },
      },
    },
  ]
}

// The levels of the CPU device below the best one that this machine has, which project 'shipped' runs.
const levels: string[] = (() => {
  try {
    const path = resolve(process.env.SSM_METAL_ADDON ?? 'build/Release/ssm.node')
    return createRequire(path)(path).cpuLevels()
  } catch {
    return [] // not built: every test says so
  }
})()

const computing = {
  include: ['test/ops/*.test.ts', 'test/models/reference.test.ts'],
  exclude: [
    // Of loops that all levels share.
    'test/ops/{threads,batch-invariance}.test.ts',
    'test/ops/{device,environment-exit,event-loop,operations-table,recorder-checks}.test.ts',
  ],
}

const prebuilt = (target: string) =>
  fileURLToPath(new URL(`prebuilds/${target}/ssm-metal.glibc.node`, import.meta.url))

/**
 * The suite of operations and the reference models on a lower level of the CPU device: with the binary that users get,
 * if it is there (scripts/prebuilds/README.md). The best level of that one is what test/package verifies.
 */
function onLevel(level: string) {
  const path = prebuilt(`linux-${process.arch}`)
  const isThere = process.platform === 'linux' && existsSync(path)
  const env = { SSM_METAL_CPU_LEVEL: level, ...(isThere && { SSM_METAL_ADDON: path }) }
  return { test: { ...operations, ...computing, name: `level-${level}`, env } }
}

/** The same with the prebuilt binary of another processor, under an emulator (test/prebuilds/arm64.mjs). */
function onPrebuilt(target: 'linux-arm64') {
  const path = prebuilt(target)
  if (!existsSync(path)) return []
  const env = { SSM_METAL_ADDON: path }
  return [
    {
      test: {
        ...operations,
        ...computing,
        name: `prebuilt-${target}`,
        testTimeout: 1_800_000,
        env,
      },
    },
  ]
}

// What takes a minute or more of a processor, or waits for package managers.
const LONG = [
  ...['package/package', 'metal-device/stand-in', 'software-metal/models'],
  ...['metal-device/literal-texts', 'software-metal/self-check', 'cli/cli'],
  ...['metal-device/kernel-texts', 'software-metal/full-size', 'software-metal/tune'],
  ...['metal-device/memory', 'cpu-levels/compare', 'gpu/gpu', 'clients/openai-python'],
].map((name) => `/test/${name}.test.ts`)
// Of whole projects: the many short files of the first one fill the gaps at the end.
const LAST = ['shipped', 'prebuilds', 'level-']

/**
 * The longest first: a file of minutes that starts last has one core and leaves the others without work.
 * Vitest goes by projects' names, and in a clean clone by the sizes of files.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const place = LONG.findIndex((name) => moduleId.endsWith(name))
      if (place >= 0) return place - LONG.length
      const last = LAST.findIndex((name) => project.name.startsWith(name))
      return last >= 0 ? LAST.length - last : 0
    }
    // Stable: files of a project stay together, which share a process.
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    // One a core; without this one core is left to the runner, which has next to nothing to do.
    maxWorkers: availableParallelism(),
    projects: [
      {
        test: {
          ...test,
          name: 'shipped',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/clients',
            'test/software-metal',
            'test/metal-device',
            'test/lm-eval',
            'test/mlx',
            'test/page',
            'test/gpu',
            'test/prebuilds',
            ...alone,
          ],
        },
      },
      { test: { ...test, name: 'alone', include: alone, maxWorkers: 1 } },
      ...levels.slice(0, -1).map(onLevel),
      ...(process.env.SSM_METAL_PREBUILT === 'linux-arm64' ? onPrebuilt('linux-arm64') : []),
      // Others' clients, under the Node that they need.
      ...(HAS_NODE_22
        ? [
            {
              test: {
                ...test,
                name: 'clients',
                include: ['test/clients/*.test.ts'],
                pool: NODE_22,
                globalSetup: 'test/clients/node-22.ts',
              },
            },
          ]
        : []),
      // Against the real mlx-lm, where it has been installed (npm run test:mlx).
      ...(existsSync(MLX_PACKAGES)
        ? [{ test: { ...test, name: 'mlx', include: ['test/mlx/*.test.ts'] } }]
        : []),
      // Against the real lm-eval-harness, where it has been installed (npm run test:lm-eval).
      ...(existsSync(LM_EVAL_PACKAGES)
        ? [{ test: { ...test, name: 'lm-eval', include: ['test/lm-eval/*.test.ts'] } }]
        : []),
      // The server's page, where a browser has been installed (npm run test:page).
      ...(existsSync(BROWSER)
        ? [{ test: { ...test, name: 'page', include: ['test/page/*.test.ts'] } }]
        : []),
      // What a build for another platform would be, and prebuilt binaries, looked at from outside.
      ...(process.platform === 'linux'
        ? [{ test: { ...test, name: 'prebuilds', include: ['test/prebuilds/*.test.ts'] } }]
        : []),
      // Every dispatch under three orders of threads, which must give the same bits.
      ...onTheRig('software-metal', 'metal_device.node', {
        SSM_SOFTWARE_METAL_SCHEDULES:
          process.env.SSM_SOFTWARE_METAL_SCHEDULES ?? 'forward,reverse,1',
      }),
      ...onTheRig('software-metal-checked', 'metal_device_checked.node'),
      ...onTheRig('software-metal-rows', 'metal_device.node', {}, rowTests),
      // What runs on an NVIDIA GPU, here over a driver without one (test/gpu/README.md).
      ...(existsSync(join(rig, 'gpu_run_seeded'))
        ? [
            {
              test: {
                ...test,
                name: 'gpu',
                include: ['test/gpu/*.test.ts'],
                env: {
                  ...cache,
                  SSM_METAL_ADDON: join(rig, 'Release/gpu_metal.node'),
                  SSM_GPU_DRIVER: join(rig, 'Release/driver_on_rig.so'),
                },
              },
            },
          ]
        : []),
      // The rig itself.
      ...(existsSync(join(rig, 'run_seeded'))
        ? [
            {
              test: {
                ...test,
                name: 'rig',
                // An emulated GPU on a machine that does something else too.
                testTimeout: 300_000,
                include: ['test/{software-metal,metal-device}/*.test.ts'],
                env: cache,
              },
            },
          ]
        : []),
    ],
  },
})
