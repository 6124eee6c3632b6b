// The strict pass: every kernel file passes, and each seeded mistake is refused for its own reason.

import { expect, test } from 'vitest'
import { checkStrict, seeded } from './rig.js'

test('every kernel file passes', () => {
  const { status, output } = checkStrict()
  expect(output).toMatch(/^strict: (\d+) of \1 kernel files pass$/m)
  expect(status).toBe(0)
})

test.each([
  ['strict_mixed_spaces', 'converts between mismatching address spaces'],
  ['strict_writes_constant', 'converts between mismatching address spaces'],
  ['strict_no_space', 'a pointer or reference without an address space'],
  ['strict_unknown_function', "undeclared identifier 'expm1'"],
  ['strict_concept', "unknown type name 'concept'"],
  ['rule_double_literal', 'write float literals with the suffix f'],
  ['rule_threadgroup_variable', 'take threadgroup memory as a [[threadgroup(n)]] pointer argument'],
  ['rule_overloaded', 'kernel rule_overloaded is overloaded'],
  ['rule_include', 'include only <metal_stdlib>'],
])('%s is refused', (name, reason) => {
  const { status, output } = checkStrict(seeded(name))
  expect(output).toContain(reason)
  expect(output).toContain(`seeded/${name}.metal`)
  expect(status).toBe(1)
})
