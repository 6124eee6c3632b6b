// The rig can fail: each seeded mistake is found, and right kernels pass.

import { describe, expect, test } from 'vitest'
import { type Build, runMutant, runSeeded } from './rig.js'

const SCHEDULES = ['forward', 'reverse', '1', '2', '3']
const BUILDS: Build[] = ['fast', 'checked']

test.each([
  'neighbour',
  'neighbour_in_device_memory',
  'neighbour_in_simdgroup',
  'sum_of_simdgroup',
  'one_lane_writes_what_all_read',
  'atomic_counter',
])('%s is right: both builds, all orders of threads, the same bits', (kernel) => {
  const results = new Set<string>()
  for (const build of BUILDS) {
    for (const schedule of SCHEDULES) {
      const { status, output } = runSeeded(build, kernel, schedule)
      expect(output).toMatch(/^ok /m)
      expect(status).toBe(0)
      results.add(/^ok .*/m.exec(output)![0])
    }
  }
  expect(results.size).toBe(1)
})

const PLACE = String.raw`test/software-metal/seeded/bugs\.metal:\d+`

describe('the checked build finds', () => {
  test.each([
    [
      'missing_barrier',
      `DATA RACE \\(read after write\\) on byte 0 of threadgroup\\(0\\) shared: .*${PLACE}`,
    ],
    ['missing_barrier_before_reuse', `DATA RACE \\(write after read\\) .*${PLACE} .*${PLACE}`],
    ['wrong_memory_flag', 'DATA RACE .* of buffer\\(1\\) out'],
    ['missing_simdgroup_barrier', 'DATA RACE'],
    ['other_simdgroup_writes_what_was_read', 'DATA RACE \\(write after read\\)'],
    ['simdgroup_barrier_is_not_enough', 'DATA RACE'],
    ['threadgroups_write_one_place', 'DATA RACE \\(write after write\\) .* threadgroup number 0'],
    ['reads_past_buffer', 'OUT OF BOUNDS: read of 4 bytes at byte 512 of buffer\\(0\\) in'],
    ['writes_before_buffer', 'OUT OF BOUNDS: write of 4 bytes at byte -4 of buffer\\(1\\) out'],
    ['writes_far_past_buffer', 'OUT OF BOUNDS: write of 4 bytes at byte 1048576 of buffer\\(1\\)'],
    ['writes_past_threadgroup_memory', 'OUT OF BOUNDS: .* byte 256 of threadgroup\\(0\\)'],
    ['uninitialised_threadgroup_memory', 'UNINITIALISED: byte 252 of threadgroup\\(0\\) shared'],
  ])('%s', (kernel, message) => {
    const { status, output } = runSeeded('checked', kernel)
    expect(status).toBe(1)
    expect(output).toMatch(new RegExp(message))
  })
})

describe.each(BUILDS)('the %s build finds', (build) => {
  test.each([
    ['barrier_after_return', 'DIVERGENT BARRIER: 40 of 64 threads'],
    ['two_barriers', 'DIVERGENT BARRIER'],
    ['barrier_in_branch', 'DIVERGENT BARRIER'],
    [
      'partial_simdgroup_barrier',
      'PARTIAL SIMDGROUP OPERATION: simdgroup_barrier at .* by 17 of 32',
    ],
    ['partial_simd_sum', 'PARTIAL SIMDGROUP OPERATION: simd_sum at .* by 17 of 32 lanes'],
    ['divergent_simdgroup', 'DIVERGENT SIMDGROUP OPERATION'],
    ['reads_past_buffer', 'OUT OF BOUNDS: .*byte 512 of buffer\\(0\\) in'],
    ['writes_past_threadgroup_memory', 'OUT OF BOUNDS: .*byte 256 of threadgroup\\(0\\) shared'],
  ])('%s', (kernel, message) => {
    for (const schedule of SCHEDULES) {
      const { status, output } = runSeeded(build, kernel, schedule)
      expect(status).toBe(1)
      expect(output).toMatch(new RegExp(message))
    }
  })
})

// What lanes exchange lies in memory of the rig's own, which may be next to a buffer.
test("the rig's own memory beside a buffer is no part of it", () => {
  const { output, status } = runSeeded('checked', 'sum_of_simdgroup', 'forward', true)
  expect(output).toMatch(/^ok /m)
  expect(status).toBe(0)
})

test.each(['missing_barrier', 'missing_barrier_before_reuse', 'threadgroups_write_one_place'])(
  'orders of threads disagree about %s',
  (kernel) => {
    const results = SCHEDULES.map((schedule) => runSeeded('fast', kernel, schedule).output)
    expect(new Set(results).size).toBeGreaterThan(1)
  },
)

test('the checked build counts bytes, all and distinct ones', () => {
  const { output } = runSeeded('checked', 'neighbour_in_device_memory')
  expect(output).toContain('buffer(0) read 512 (512) written 0 (0)')
  expect(output).toContain('buffer(1) read 512 (512) written 1024 (512)')
})

test('a kernel that does not exist is named', () => {
  expect(runSeeded('fast', 'nothing').output).toContain('kernel nothing: no file of metal/')
})

// The whole suite of an operation, on its real kernel with one mistake.
describe('the suite of an operation', () => {
  const place = 'const uint at = i * value_bits;'
  test('passes on a copy of the kernel', { timeout: 300_000 }, () => {
    const same = { file: 'quantized.h', from: place, to: place }
    const { status, output } = runMutant('fast', 'dequantize', same)
    expect(output).toMatch(/Tests +\d+ passed/)
    expect(status).toBe(0)
  })

  test.each([
    {
      mistake: 'swapped nibbles',
      file: 'quantized.h',
      from: place,
      to: 'const uint at = (i ^ 1u) * value_bits;',
    },
    {
      mistake: 'a wrong group index',
      file: 'quantized.h',
      from: 'numbers_of(scales, biases, col >> ctz(group_size))',
      to: 'numbers_of(scales, biases, col >> ctz(group_size) >> 1)',
    },
  ])('finds $mistake', { timeout: 300_000 }, (mutation) => {
    const { status, output } = runMutant('fast', 'dequantize', mutation)
    expect(output).toMatch(/Tests +\d+ failed/)
    expect(status).toBe(1)
  })

  // Behind the bytes of a buffer its last page goes on, as on a Mac.
  test('finds an element too many behind a buffer', { timeout: 300_000 }, () => {
    const mutation = { file: 'add.metal', from: 'p.count - i);', to: 'p.count - i + 1);' }
    const { status, output } = runMutant('fast', 'add', mutation)
    expect(output).toMatch(/kernel add_float\d+: buffer\(2\): OUT OF BOUNDS: byte \d+ of a block/)
    expect(status).toBe(1)
  })
})
