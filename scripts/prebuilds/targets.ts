// The prebuilt binaries of the addon: what each is called, and for which machine it is made.

import { join } from 'node:path'

export interface Target {
  /** As zig calls the machine, with the oldest macOS or glibc that the binary runs on. */
  triple: string
  os: 'mac' | 'linux'
  arch: 'arm64' | 'x64'
  /** The path below prebuilds/ at which node-gyp-build looks for it. */
  file: string
}

/** Agrees with MACOSX_DEPLOYMENT_TARGET of binding.gyp (test/prebuilds/gyp.test.ts). */
export const LEAST_MACOS = '14.0'
export const LEAST_GLIBC = '2.28'

const mac = { os: 'mac' } as const
const linux = { os: 'linux' } as const
const arm64 = { arch: 'arm64' } as const
const x64 = { arch: 'x64' } as const

export const TARGETS = {
  'darwin-arm64': {
    ...mac,
    ...arm64,
    triple: `aarch64-macos.${LEAST_MACOS}`,
    file: 'darwin-arm64/ssm-metal.node',
  },
  // The CPU device only.
  'darwin-x64': {
    ...mac,
    ...x64,
    triple: `x86_64-macos.${LEAST_MACOS}`,
    file: 'darwin-x64/ssm-metal.node',
  },
  'linux-x64': {
    ...linux,
    ...x64,
    triple: `x86_64-linux-gnu.${LEAST_GLIBC}`,
    file: 'linux-x64/ssm-metal.glibc.node',
  },
  'linux-arm64': {
    ...linux,
    ...arm64,
    triple: `aarch64-linux-gnu.${LEAST_GLIBC}`,
    file: 'linux-arm64/ssm-metal.glibc.node',
  },
  'linux-x64-musl': {
    ...linux,
    ...x64,
    triple: 'x86_64-linux-musl',
    file: 'linux-x64/ssm-metal.musl.node',
  },
  'linux-arm64-musl': {
    ...linux,
    ...arm64,
    triple: 'aarch64-linux-musl',
    file: 'linux-arm64/ssm-metal.musl.node',
  },
} as const satisfies Record<string, Target>

export type TargetName = keyof typeof TARGETS

/** All that a binary exports: what Node looks for. */
export const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']

/** Where a target's binary is, in a checkout. */
export function prebuiltFile(root: string, name: TargetName): string {
  return join(root, 'prebuilds', TARGETS[name].file)
}
