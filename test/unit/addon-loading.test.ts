// Which file is loaded as the addon, and each reason for which none is: provoked with damaged copies
// and flags of Node where Linux can, else with another description of the machine.

import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { DamagedBinaryError, examineBinary } from '../../lib/addon/binary.js'
import { type Host, LEAST_NODE, thisHost } from '../../lib/addon/host.js'
import { addonPaths, loadAddon, prebuiltPath } from '../../lib/addon/load.js'
import { buildCommand, packageManagerOf } from '../../lib/addon/package-manager.js'
import { AddonNotFoundError } from '../../lib/support/errors.js'
import { temporaryFolder } from '../support/checkpoints.js'
import { ROOT, runChild } from '../support/child-process.js'

const host = thisHost()
// This clone's own, whatever addon the other tests use.
const built = load(ROOT).path
const bytes = await readFile(built)

/** A package installed by npm, with these files in it. */
async function installed(files: Record<string, Buffer | string>): Promise<string> {
  const root = join(await temporaryFolder(), 'node_modules/ssm-metal')
  await mkdir(root, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), content)
  }
  return root
}

/** Loads without the variable that other projects of this suite set. */
function load(root: string, other: Partial<Host> = {}) {
  const override = process.env.SSM_METAL_ADDON
  delete process.env.SSM_METAL_ADDON
  try {
    return loadAddon(root, { ...host, ...other })
  } finally {
    if (override !== undefined) process.env.SSM_METAL_ADDON = override
  }
}

/** Why nothing is loaded; the message with each of its parts in one line. */
function failure(root: string, other: Partial<Host> = {}) {
  try {
    load(root, other)
  } catch (error) {
    expect(error).toBeInstanceOf(AddonNotFoundError)
    const { reason, message, code } = error as AddonNotFoundError
    const longest = Math.max(
      ...message
        .split('\nTried:')[0]!
        .split('\n')
        .map((each) => each.length),
    )
    expect(longest).toBeLessThanOrEqual(100)
    return { reason, code, message: unwrapped(message) }
  }
  throw new Error('it loaded')
}

const unwrapped = (message: string) => message.replaceAll(/\n {7}(?=\S)/g, ' ')

/** A copy in which a text is replaced by another of the same length. */
function replaced(from: string, to: string): Buffer {
  const copy = Buffer.from(bytes)
  let count = 0
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1), count++) {
    copy.write(to, at, 'latin1')
  }
  expect(count, `${from} in the addon`).toBeGreaterThan(0)
  return copy
}

const own = (libc: string | undefined = host.libc) =>
  `prebuilds/${host.platform}-${host.arch}/ssm-metal${libc ? `.${libc}` : ''}.node`

describe('what is loaded', () => {
  it('a prebuilt binary, alone', async () => {
    const root = await installed({ [own()]: bytes })
    const { addon, path } = load(root)
    expect(path).toBe(join(root, own()))
    expect(addon.deviceNames()).toContain('cpu')
  })

  it('what was compiled here rather than the prebuilt binary', async () => {
    const root = await installed({ [own()]: bytes, 'build/Release/ssm.node': bytes })
    expect(load(root).path).toBe(join(root, 'build/Release/ssm.node'))
  })

  it.each([
    ['is for another machine', () => otherMachine()],
    ['was cut short', () => bytes.subarray(0, 300_000)],
  ])('the prebuilt binary where what was compiled %s', async (_, damaged) => {
    const root = await installed({ [own()]: bytes, 'build/Release/ssm.node': damaged() })
    expect(load(root).path).toBe(join(root, own()))
  })

  it.each<[Partial<Host>, string]>([
    [{ platform: 'darwin', arch: 'arm64', libc: undefined }, 'darwin-arm64/ssm-metal.node'],
    [{ platform: 'darwin', arch: 'x64', libc: undefined }, 'darwin-x64/ssm-metal.node'],
    [{ platform: 'linux', arch: 'x64', libc: 'glibc' }, 'linux-x64/ssm-metal.glibc.node'],
    [{ platform: 'linux', arch: 'x64', libc: 'musl' }, 'linux-x64/ssm-metal.musl.node'],
    [{ platform: 'linux', arch: 'arm64', libc: 'glibc' }, 'linux-arm64/ssm-metal.glibc.node'],
    [{ platform: 'linux', arch: 'arm64', libc: 'musl' }, 'linux-arm64/ssm-metal.musl.node'],
  ])('%o looks for %s', (machine, file) => {
    expect(prebuiltPath('/root', { ...host, ...machine })).toBe(`/root/prebuilds/${file}`)
    expect(addonPaths('/root', { ...host, ...machine })).toHaveLength(2)
  })

  it.runIf(process.platform === 'linux')('knows the C library of this Node', () => {
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    expect(host.libc).toBe(header.glibcVersionRuntime ? 'glibc' : 'musl')
    expect(examineBinary(process.execPath)).toMatchObject({
      platform: 'linux',
      archs: [process.arch],
      interpreter: expect.stringMatching(/ld/),
    })
  })
})

/** This machine's addon, said to be for a processor that it is not for. */
function otherMachine(): Buffer {
  const copy = Buffer.from(bytes)
  const arm64 = host.arch === 'arm64'
  if (host.platform === 'darwin') copy.writeUInt32LE(arm64 ? 0x01000007 : 0x0100000c, 4)
  else copy.writeUInt16LE(arm64 ? 62 : 183, 18)
  return copy
}

describe('why nothing is loaded', () => {
  it('an old Node, though it has what it needs', async () => {
    const { reason, message } = failure(await installed({ [own()]: bytes }), { node: '20.18.9' })
    expect(reason).toBe('node-version')
    expect(message).toContain('Node 20.18.9 is too old: ssm-metal needs 20.19 or newer')
  })

  it('the same least Node as package.json asks for', async () => {
    const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(engines.node).toBe(`>=${LEAST_NODE}`)
  })

  it.each<[string, Partial<Host>, RegExp, RegExp]>([
    ['Windows', { platform: 'win32', libc: undefined }, /Windows is not supported/, /WSL 2/],
    ['FreeBSD', { platform: 'freebsd', libc: undefined }, /freebsd is not supported/, /container/],
    [
      'macOS 13',
      { platform: 'darwin', arch: 'arm64', libc: undefined, kernel: '22.6.0' },
      /macOS is too old \(Darwin 22\.6\.0\).*macOS 14/,
      /update macOS/,
    ],
  ])('%s', async (_, machine, cause, cure) => {
    const { reason, message } = failure(await installed({}), machine)
    expect(reason).toBe('unsupported-system')
    expect(message).toMatch(cause)
    expect(message).toMatch(cure)
  })

  it('a processor without a prebuilt binary, with the command that compiles one', async () => {
    const root = await installed({ [own()]: bytes, 'prebuilds/darwin-arm64/ssm-metal.node': '' })
    const { reason, message } = failure(root, { arch: 'riscv64' })
    expect(reason).toBe('no-binary')
    expect(message).toContain(`no prebuilt binary for ${host.platform}-riscv64`)
    expect(message).toContain('only those for darwin-arm64, ')
    expect(message).toContain('`npx ssm-metal build`, which needs Python 3')
  })

  it.runIf(host.libc)('musl where the package is for glibc only', async () => {
    const root = await installed({ [own('glibc')]: bytes })
    const { reason, message } = failure(root, { libc: 'musl' })
    expect(reason).toBe('no-binary')
    expect(message).toContain(`for ${host.platform}-${host.arch} with musl`)
    expect(message).toContain(`only those for ${host.platform}-${host.arch} (glibc)`)
  })

  it('x64 Node on Apple silicon where the package is for arm64 only', async () => {
    const root = await installed({ 'prebuilds/darwin-arm64/ssm-metal.node': bytes })
    const mac = { platform: 'darwin', arch: 'x64', libc: undefined, kernel: '24.1.0' }
    const { reason, message } = failure(root, { ...mac, translated: () => true })
    expect(reason).toBe('no-binary')
    expect(message).toMatch(/Rosetta 2.*sysctl\.proc_translated/)
    expect(message).toContain('install the arm64 build of Node')
    expect(failure(root, { ...mac, translated: () => false }).message).not.toContain('Rosetta')
  })

  it('x64 Node on Apple silicon that finds what an arm64 Node compiled', async () => {
    const header = Buffer.alloc(32)
    header.writeUInt32LE(0xfeedfacf, 0)
    header.writeUInt32LE(0x0100000c, 4)
    const root = await installed({ 'build/Release/ssm.node': header })
    const mac = { platform: 'darwin', arch: 'x64', libc: undefined, kernel: '24.1.0' }
    const { reason, message } = failure(root, { ...mac, translated: () => true })
    expect(reason).toBe('wrong-machine')
    expect(message).toContain('ssm.node is made for darwin-arm64, but this Node is darwin-x64')
    expect(message).toMatch(/Rosetta 2.*\n.*install the arm64 build of Node/)
  })

  it('a clone that is not compiled', async () => {
    const { reason, message } = failure(await installed({ 'lib/operations/addon.ts': '' }))
    expect(reason).toBe('no-binary')
    expect(message).toContain('run npm run build:native')
  })

  it('a binary of another machine', async () => {
    const { reason, message } = failure(await installed({ [own()]: otherMachine() }))
    expect(reason).toBe('wrong-machine')
    const other = host.arch === 'arm64' ? 'x64' : 'arm64'
    expect(message).toContain(
      `is made for ${host.platform}-${other}, but this Node is ${host.platform}-`,
    )
    expect(message).toContain('copied from another machine')
  })

  it.each<[string, Buffer | string, string]>([
    ['an empty file', '', 'the file is empty'],
    ['a text', 'version https://git-lfs.github.com/spec/v1', 'the file is no program'],
    ...[40, 100, 5000, 300_000, bytes.length - 1].map((length): [string, Buffer, string] => [
      `the first ${length} bytes`,
      bytes.subarray(0, length),
      `the file ends too early, after ${length} bytes`,
    ]),
  ])('%s', async (_, content, cause) => {
    const root = await installed({ [own()]: content })
    const { reason, message } = failure(root)
    expect(reason).toBe('damaged-binary')
    expect(message).toContain(`${own()} is damaged: ${cause}`)
    expect(message).toContain('delete node_modules/ssm-metal and install again')
  })

  // macOS would end the process for a page that does not have the signed bytes.
  it.runIf(host.libc)('a library that is no addon', async () => {
    const root = await installed({
      [own()]: replaced('napi_register_module', 'nope_register_module'),
    })
    const { reason, message } = failure(root)
    expect(reason).toBe('damaged-binary')
    expect(message).toContain('could not be loaded: Module did not self-register')
  })

  describe.runIf(host.libc === 'glibc')('the C library', () => {
    // Of the versions that the addon asks for, one that the library here certainly lacks.
    it('an older glibc than the binary needs', async () => {
      const [version] = /GLIBC_2\.\d\d(?=\0)/.exec(bytes.toString('latin1'))!
      const root = await installed({ [own()]: replaced(`${version}\0`, 'GLIBC_2.99\0') })
      const { reason, message } = failure(root)
      expect(reason).toBe('libc')
      expect(message).toContain('needs GLIBC_2.99, and the C library of this system is older')
      expect(message).toMatch(/\(glibc 2\.\d+\)/)
      expect(message).toContain('`npx ssm-metal build`')
    })

    it('a binary for musl', async () => {
      const root = await installed({ [own()]: replaced('libc.so.6\0', 'libc.so\0\0\0') })
      const { reason, message } = failure(root)
      expect(reason).toBe('libc')
      expect(message).toContain("made for another C library than this system's, which is glibc")
    })
  })

  it('a file that SSM_METAL_ADDON names wrongly', async () => {
    const file = join(await temporaryFolder(), 'none.node')
    const cli = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))
    const { code, stdout } = await runChild(cli, ['info'], { env: { SSM_METAL_ADDON: file } })
    expect(code).toBe(0)
    expect(unwrapped(stdout)).toContain(`SSM_METAL_ADDON names ${file}, and there is no such file`)
  })
})

describe('the message', () => {
  it('has a line for what happened, why, what to do, and each file', async () => {
    const root = await installed({ [own()]: '' })
    const { message, code } = failure(root)
    const [what, why, cure, tried, ...files] = message.split('\n')
    expect(code).toBe('ERR_ADDON_NOT_FOUND')
    expect(what).toMatch(/^\[addon\] the native addon did not load on /)
    expect(why).toMatch(/^Why: {3}.*\.$/)
    expect(cure).toMatch(/^To do: .*\.$/)
    expect(tried).toBe('Tried:')
    expect(files).toEqual([
      `  ${join(root, 'build/Release/ssm.node')}: no such file`,
      `  ${join(root, own())}: the file is empty`,
    ])
  })

  it.each([
    ['node_modules/.package-lock.json', 'npm', 'npx ssm-metal build'],
    ['node_modules/.modules.yaml', 'pnpm', 'pnpm exec ssm-metal build'],
    ['node_modules/.yarn-state.yml', 'yarn', 'yarn run ssm-metal build'],
    ['bun.lock', 'bun', 'bunx ssm-metal build'],
  ])('names the command of the package manager that left %s', async (mark, manager, command) => {
    const root = await installed({ [`../../${mark}`]: '' })
    expect(packageManagerOf(root)).toBe(manager)
    expect(buildCommand(root)).toBe(command)
  })

  it('knows yarn without a node_modules', () => {
    const root = '/home/x/.yarn/unplugged/ssm-metal-npm-0.1.0-7d3/node_modules/ssm-metal'
    expect(packageManagerOf(root)).toBe('yarn')
  })

  it('knows pnpm from the inside of its store, and npm by default', async () => {
    const root = await installed({ '../../node_modules/.modules.yaml': '' })
    const inside = join(dirname(root), '.pnpm/ssm-metal@0.1.0/node_modules/ssm-metal')
    expect(packageManagerOf(inside)).toBe('pnpm')
    expect(packageManagerOf(await installed({}))).toBe('npm')
  })
})

describe('a process that may not load addons', () => {
  const cli = fileURLToPath(new URL('../../lib/cli.ts', import.meta.url))
  const permission =
    Number.parseInt(process.versions.node, 10) < 22 ? '--experimental-permission' : '--permission'
  const allowed = [
    '--allow-fs-read=*',
    '--allow-fs-write=*',
    '--allow-worker',
    '--allow-child-process',
  ]

  it.each<[string, string[], string, RegExp]>([
    ['--no-addons', ['--no-addons'], 'addons-switched-off', /--no-addons.*\n.*NODE_OPTIONS/],
    [
      permission,
      [permission, ...allowed],
      'permission-model',
      /permission model.*\n.*--allow-addons/,
    ],
  ])('%s: info still describes the machine, and says why', async (_, nodeOptions, reason, text) => {
    const { code, stdout, stderr } = await runChild(cli, ['info'], { nodeOptions })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^device {5}none: the native addon did not load, see below$/m)
    expect(stdout).toMatch(/^node {7}\d+/m)
    expect(unwrapped(stdout)).toMatch(text)
    const json = await runChild(cli, ['info', '--json'], { nodeOptions })
    const facts = JSON.parse(json.stdout)
    expect(facts).toMatchObject({
      addon: null,
      addonFailure: { reason },
      node: process.versions.node,
    })
    expect(facts.verified.length).toBeGreaterThan(20)
    // Other verbs are one message and exit code 1.
    const verify = await runChild(cli, ['verify'], { nodeOptions })
    expect(verify.code).toBe(1)
    expect(verify.stderr).toMatch(/^ssm-metal verify: \[addon\] the native addon did not load/)
    expect(verify.stderr).not.toContain('    at ')
  })

  it('a platform that is not supported', async () => {
    const pretend = "data:text/javascript,Object.defineProperty(process,'platform',{value:'sunos'})"
    const { code, stdout } = await runChild(cli, ['info'], { nodeOptions: ['--import', pretend] })
    expect(code).toBe(0)
    expect(unwrapped(stdout)).toContain(
      'the operating system sunos is not supported; macOS and Linux are',
    )
  })
})

describe('headers of binaries', () => {
  it('of Windows, of macOS for both processors, of a file whose numbers are nonsense', async () => {
    const folder = await temporaryFolder()
    const examine = async (content: Buffer) => {
      await writeFile(join(folder, 'file'), content)
      return examineBinary(join(folder, 'file'))
    }
    expect(await examine(Buffer.from('MZ and more'))).toMatchObject({ platform: 'win32' })
    const universal = Buffer.alloc(48)
    universal.writeUInt32BE(0xcafebabe, 0)
    universal.writeUInt32BE(2, 4)
    universal.writeUInt32BE(0x01000007, 8)
    universal.writeUInt32BE(0x0100000c, 28)
    expect(await examine(universal)).toEqual({ platform: 'darwin', archs: ['x64', 'arm64'] })
    // Every byte of the header in turn is 0xff: an answer or this error, and never another.
    for (let at = 4; at < 64; at++) {
      const copy = Buffer.from(bytes)
      copy[at] = 0xff
      try {
        await examine(copy)
      } catch (error) {
        expect(error).toBeInstanceOf(DamagedBinaryError)
      }
    }
  })

  it('a file that goes away is an error of the file system', async () => {
    const file = join(await temporaryFolder(), 'gone.node')
    await copyFile(built, `${file}.other`)
    expect(() => examineBinary(file)).toThrow(/ENOENT/)
  })
})
