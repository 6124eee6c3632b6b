// native/metal/metal_device.mm itself, through Node, over a stand-in for Apple's Metal.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { programWords } from '../support/compiled.js'
import { builtIn, root, run } from './clang.js'

const asan = run(process.env.CXX ?? 'clang++-19', [
  '-print-file-name=libclang_rt.asan-x86_64.so',
]).stdout.trim()
const BUILDS = [
  ['plain', 'metal_device_checked.node', {}],
  ['AddressSanitizer', 'metal_device_asan.node', { LD_PRELOAD: asan }],
] as const

function scenario(name: string, addon: string, env: Record<string, string>) {
  const { status, signal, stdout, stderr } = run(
    process.execPath,
    [...programWords(join(root, 'test/metal-device/scenarios.ts')), name],
    {
      ...env,
      SSM_METAL_ADDON: builtIn(join('Release', addon)),
      ASAN_OPTIONS: 'detect_leaks=0', // V8 frees nothing at exit; live objects are counted instead
    },
  )
  return { status, signal, stderr, result: stdout === '' ? undefined : JSON.parse(stdout) }
}
const ended = { status: 0, signal: null, stderr: '' }

// Their kernels compute much, the same as those of `generate` or no more than an addition; what they are
// about is in which order the device does what. The checked build would take minutes.
const LONG = ['pieces', 'piecesUnwanted', 'twoInFlight', 'engine']

describe.each(BUILDS)('%s', (build, usual, env) => {
  const play = (name: string) => {
    const addon = build === 'plain' && LONG.includes(name) ? 'metal_device.node' : usual
    return scenario(name, addon, env)
  }

  test('generates what the CPU device does, and leaves no object', { timeout: 240_000 }, () => {
    const { result, ...end } = play('generate')
    expect(end).toEqual(ended)
    const [cpu, metal, memory] = result.results
    expect(cpu.tokens).toHaveLength(3)
    expect(metal).toEqual({ device: 'metal', tokens: cpu.tokens })
    expect(memory.live).toBe(true)
    // The stand-in knew where each argument of each dispatch ends.
    expect(result.dispatchesDone).toBeGreaterThan(30)
    expect(result.inexactDispatches).toBe(0)
    // Compiled while the model was loaded; a prompt of 7 tokens needs mat-vec kernels of its own.
    expect(memory.libraries).toBe(26)
    expect(memory.now - memory.libraries).toBe(3)
    expect(result.live).toBe(0)
  })

  test('prepares lists: each text is compiled once, and failures are told', () => {
    const { result, ...end } = play('prepare')
    expect(end).toEqual(ended)
    expect(result.counts).toEqual([
      [0, 0],
      [1, 1],
      [1, 1],
    ])
    expect(result.sum).toBe(5)
    expect(result.failed[0]).toMatch(/^\[metal\] kernel cast_float32_float32 does not compile: /)
    expect(result.failed[1]).toBe('no error')
    expect(['no error', '[prepare] the device was disposed before the list was ready']).toContain(
      result.failed[2],
    )
    expect(result.live).toBe(0)
  })

  test('a failure rejects one run, says why, and the device goes on', () => {
    const { result, ...end } = play('failures')
    expect(end).toEqual(ended)
    expect(result.messages).toMatchObject({
      failLibraries: expect.stringMatching(
        /^\[metal\] kernel add_float32 does not compile: program_source:1:1: error: expected/,
      ),
      failBuffers: expect.stringMatching(/^\[metal\] not enough memory: .* \d+ bytes$/),
      failCommandBuffers:
        '[metal] the GPU failed: Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault)',
      maxBufferLength: expect.stringMatching(
        /^\[metal\] a tensor of 4194304 bytes is larger .* 1048576 bytes: take a checkpoint/,
      ),
      maxThreads:
        '[metal] kernel rms_norm_float32_float32 cannot be made ready for this GPU: Compute function exceeds available registers',
    })
    expect(result.sum).toBe(5)
    expect(result.live).toBe(0)
  })

  test('what Metal says of the GPU reaches JavaScript', () => {
    const { result, ...end } = play('gpuErrors')
    expect(end).toEqual(ended)
    expect(result.messages).toEqual({
      failPipelines: expect.stringContaining('cannot be made ready for this GPU: Compiler'),
      failEncoders: '[metal] not enough memory to encode a run',
      failLate: expect.stringContaining('the GPU failed: Internal Error'),
      timeOut: expect.stringContaining('the GPU failed: Caused GPU Timeout Error'),
      runOutOfMemory: expect.stringContaining('the GPU failed: Insufficient Memory'),
      failInAnotherDomain: expect.stringContaining('the GPU failed: The operation'),
      hang: expect.stringContaining('the GPU failed: Caused GPU Hang Error'),
      loseDevice: expect.stringContaining('the GPU failed: Ignored (for causing prior'),
      afterLoseDevice: expect.stringContaining('the GPU failed: Ignored (for causing prior'),
      failQueues: '[metal] the GPU gives no command queue',
    })
    // A GPU does not tell which operation of a command buffer was at fault.
    expect(result.codes).toEqual({
      failPipelines: 'ERR_OPERATION_FAILED add',
      failEncoders: 'ERR_OUT_OF_MEMORY undefined',
      failLate: 'ERR_DEVICE_FAILED undefined',
      timeOut: 'ERR_DEVICE_FAILED undefined',
      runOutOfMemory: 'ERR_OUT_OF_MEMORY undefined',
      failInAnotherDomain: 'ERR_DEVICE_FAILED undefined',
    })
    expect(result.live).toBe(0)
  })

  test('what a run wrote that the GPU did not end must be written whole before it is used', () => {
    const { result, ...end } = play('mixture')
    expect(end).toEqual(ended)
    const mixture = /a run that the device did not end may have left this memory half written/
    expect(result.failed[0]).toMatch(/^\[metal\] the GPU failed: Internal Error/)
    expect(result.failed[1]).toMatch(mixture)
    expect(result.after).toMatch(mixture)
    expect(result.read).toMatch(mixture)
    expect(result.count).toBe(8)
    // A list that writes it whole before it reads it needs no help.
    expect(result.whole).toEqual([expect.stringMatching(/the GPU failed/), 'no error', 5])
    expect(result.live).toBe(0)
  })

  test('a prompt fails as a whole when a piece of it does', () => {
    const { result, ...end } = play('pieces')
    expect(end).toEqual(ended)
    const mixture = expect.stringMatching(/may have left this memory half written/)
    const { whole, failures, both, hang, later, live } = result
    expect(whole.count).toBe(5)
    expect(whole.pieces).toBeGreaterThan(3)
    const outcome = (message: RegExp) => ({
      message: expect.stringMatching(message),
      read: mixture,
      unwritten: mixture,
      after: 'no error',
      count: 5,
    })
    expect(failures).toEqual({
      failCommandBuffers: outcome(/^\[metal\] the GPU failed: .*PageFault/),
      failLate: outcome(/^\[metal\] the GPU failed: Internal Error/),
      failEncoders: outcome(/^\[metal\] not enough memory to encode a run$/),
    })
    expect(both).toEqual([expect.stringMatching(/^\[metal\] the GPU failed/), mixture])
    expect(hang).toMatch(
      /^\[metal\] the GPU has ended none of its work for 3 s: this device is lost/,
    )
    expect(later).toMatch(/this device is lost/)
    expect(live).toBe(0)
  })

  test('a prompt that is no longer wanted ends before its last piece', () => {
    const { result, ...end } = play('piecesUnwanted')
    expect(end).toEqual(ended)
    expect(result).toMatchObject({ message: 'no longer wanted', live: 0 })
    expect(result.pieces).toBeLessThan(15)
  })

  test('a GPU that hangs is given up after the timeout, and nothing waits for it', () => {
    const { result, ...end } = play('hang')
    expect(end).toEqual(ended)
    expect(result.runs).toEqual([
      expect.stringMatching(/^ERR_DEVICE_LOST: \[metal\] the GPU has ended none .* for 0.5 s/),
    ])
    expect(result.later).toMatch(/this device is lost/)
    expect(result.read).toMatch(/half written/)
    expect(result.disposeMs).toBeLessThan(1000)
    expect(result.liveWhileItHangs).toBe(true)
    expect(result.live).toBe(0)
    expect(result.sum).toBe(5)
  })

  test('dispose does not wait for a GPU that hangs', () => {
    const { result, ...end } = play('disposeWhileItHangs')
    expect(end).toEqual(ended)
    expect(result.messages).toEqual(['[run] the device was disposed before the run ended'])
    expect(result.disposeMs).toBeLessThan(1000)
    expect(result.live).toBe(0)
  })

  test('a GPU that fails loses the streams and sessions of a model, and no more', {
    timeout: 240_000,
  }, () => {
    const { result, ...end } = play('engine')
    expect(end).toEqual(ended)
    const { expected, again, fresh, failed, lost, code, open, runs, live } = result
    expect(failed).toEqual([
      expect.stringMatching(/the GPU failed/),
      expect.stringMatching(/the GPU failed/),
    ])
    expect(lost).toMatch(/an error left this session's state unusable: rewind it/)
    expect(code).toBe('ERR_SESSION_LOST')
    expect(expected).toHaveLength(6)
    expect(again).toEqual(expected)
    expect(fresh).toEqual(expected)
    expect({ open, runs, live }).toEqual({ open: 0, runs: 0, live: 0 })
  })

  test('the process may exit while the GPU hangs', () => {
    expect(play('exitWhileItHangs')).toEqual({ ...ended, result: 'exiting' })
  })

  test('the GPU never waits for JavaScript between tokens; leaving leaves nothing', {
    timeout: 240_000,
  }, () => {
    const { result, ...end } = play('twoInFlight')
    expect(end).toEqual(ended)
    expect(result.gpuWaits).toBeLessThanOrEqual(2) // for what sets up the sequence, and for the prompt
    expect(result.messages).toEqual(['enough', '[generate] this model was disposed'])
    expect(result.live).toBe(0)
  })

  test('runs are reported in the order of their submission', () => {
    const { result, ...end } = play('order')
    expect(end).toEqual(ended)
    expect(result.order).toEqual(['first 1', 'first 2', 'first 3', 'second failed', 'first 4'])
    expect(result.reversed).toEqual([0, 1, 2, 3])
    expect(result.gpuWaits).toBeLessThanOrEqual(1) // for the first of them
    expect(result.live).toBe(0)
  })

  test('cancelled runs are reported as such, whether the GPU had them or not', () => {
    const { result, ...end } = play('cancel')
    expect(end).toEqual(ended)
    // The first ones may have ended before.
    expect(result.messages.filter((text: string) => text !== 'no error')).toEqual([
      'no longer wanted',
    ])
    expect(result.after).toBe('no error')
    expect(result.disposed).toHaveLength(5)
    expect(new Set(result.disposed).size).toBeLessThanOrEqual(2) // done, or disposed
    expect(result.live).toBe(0)
  })

  test('the process may exit during a run', () => {
    expect(play('exit')).toEqual({ ...ended, result: 'exiting' })
  })

  if (build === 'plain') {
    test('a GPU without matrices of a simdgroup is no device', () => {
      expect(play('noGpu').result).toEqual({ names: ['cpu'] })
    })
  } else {
    test('AddressSanitizer watches', () => {
      const { status, stderr } = play('readFreed')
      expect(stderr).toContain('heap-use-after-free')
      expect(status).not.toBe(0)
    })
  }
})

// The stand-in refuses what Metal leaves undefined. Each case makes one mistake (misuse.mm).
const misuse = builtIn('metal-device/misuse')
const EXPECTED: Record<string, string> = {
  'argument given twice': 'add_float32: buffer 3 (p) is given twice',
  'barrier that orders nothing': 'a barrier that does not order buffers',
  'buffer released while it is used': 'a buffer is released while a command buffer',
  'buffer that is not resident': 'a buffer that is in no residency set of the queue',
  'buffer that the kernel lacks': 'add_float32: has no buffer 5',
  'bytes of an encoder for what is written': 'add_float32: buffer 2 (out) is written but',
  'bytes that the kernel lacks': 'add_float32: has no buffer 4',
  'grid without threadgroups': 'add_float32: a grid without threadgroups',
  'parameters of another size': 'add_float32: buffer 3 (p) has 4 bytes but is given 8',
  'part of a simdgroup though whole ones were promised':
    'add_float32: 40 threads in a threadgroup, but whole simdgroups of 32 were promised',
  'memory unmapped while a buffer has it': 'memory is unmapped while a buffer has it',
  'offset that is not aligned':
    'add_float32: buffer 0 (a) begins at byte 2, which is not a multiple of 4',
  'pipeline released while it is used': 'a pipeline is released while a command buffer',
  'removal of what is not in the set': 'removeAllocation: what is not in the residency set',
  'residency requested before commit': 'requestResidency before commit',
  'threadgroup memory of no bytes': 'threadgroup memory of 0 bytes',
  'threadgroup memory that the kernel lacks': 'add_float32: has no threadgroup memory 0',
  'two buffers over the same pages': 'two buffers over the same pages, of which one is written',
  'buffer of an earlier dispatch': 'add_float32: buffer 0 (a) is not bound',
  'buffer that is not bound': 'add_float32: buffer 1 (b) is not bound',
  'commit twice': 'commit twice',
  'dispatch without pipeline': 'a dispatch without pipeline',
  'encoder after commit': 'an encoder of a command buffer that was committed',
  'encoder released before endEncoding': 'an encoder is released before endEncoding',
  'encoding after endEncoding': 'setComputePipelineState after endEncoding',
  'endEncoding twice': 'endEncoding after endEncoding',
  'handler after commit': 'addCompletedHandler after commit',
  'index beyond 30': 'setBuffer: index 31 is beyond 30',
  'length that is not pages': 'pointer and length must be multiples of the page',
  'missing barrier, read after write': 'there is no barrier between them',
  'missing barrier, write after read': 'there is no barrier between them',
  'missing barrier, write after write': 'there is no barrier between them',
  'missing endEncoding': 'commit before endEncoding',
  'offset beyond the buffer': 'offset 16384 is beyond the buffer of 16384 bytes',
  'parameters above 4 KiB': '4097 bytes are more than 4 KiB',
  "pointer and length of smaller pages than a Mac's":
    'pointer and length must be multiples of the page',
  'pointer that is not a page': 'pointer and length must be multiples of the page',
  'threadgroup memory not of 16': 'threadgroup memory of 100 bytes: not a multiple of 16',
  'threadgroup memory without length':
    'rms_norm_float32_float32: threadgroup memory 0 has no length',
  'too many threads': 'add_float32: 1056 threads in a threadgroup, of at most 1024',
  'too much threadgroup memory': '33792 bytes of threadgroup memory, of at most 32768',
  'two encoders at once': 'an encoder while another one encodes',
}

describe('the stand-in', () => {
  test('has the cases that are tested here', () => {
    const cases = run(misuse, []).stdout.trim().split('\n')
    expect(cases.sort()).toEqual(['none', ...Object.keys(EXPECTED)].sort())
  })

  test('accepts what is right', () => {
    expect(run(misuse, ['none'])).toEqual({ status: 0, signal: null, stdout: 'ok\n', stderr: '' })
  })

  test.each(Object.entries(EXPECTED))('refuses: %s', (name, message) => {
    const { signal, stderr } = run(misuse, [name])
    expect(stderr).toContain(message)
    expect(signal).toBe('SIGABRT')
  })
})
