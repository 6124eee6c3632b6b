// The file that speaks to Apple's API, compiled for a Mac against headers of our own (sdk/).

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { CONSTANTS, FUNCTIONS, SELECTORS } from './api-table.js'
import { deviceFile, typeCheck } from './clang.js'

const text = readFileSync(deviceFile, 'utf8')

describe('metal_device.mm', () => {
  test.each([
    ['the SDK of macOS 15', []],
    ['the SDK of macOS 14', ['-D__MAC_OS_X_VERSION_MAX_ALLOWED=140000']],
  ])('is right for %s', (_, more) => {
    expect(typeCheck(text, ...more)).toMatchObject({ status: 0, stderr: '' })
  })

  test.each([
    ['an unknown selector', 'newCommandQueue]', 'newCommandQue]', "'newCommandQue'"],
    [
      'a wrong type',
      'const id<MTLBuffer> buffer = [device_',
      'const id<MTLLibrary> buffer = [device_',
      "variable of type 'const __strong id<MTLLibrary>'",
    ],
    [
      'an API of macOS 15 that is not guarded',
      'if (@available(macOS 15.0, *)) {\n      if (set_',
      'if (true) {\n      if (set_',
      'only available on macOS 15.0 or newer',
    ],
    [
      "a block of another handler's type",
      '^(id<MTLCommandBuffer> done)',
      '^(id<MTLBuffer> done)',
      "'MTLCommandBufferHandler _Nonnull'",
    ],
    [
      'a pointer that ARC does not own',
      'if (buffer == nil) {',
      'void* raw = buffer; if (raw == nullptr) {',
      "cannot initialize a variable of type 'void *'",
    ],
    [
      'a method of another object',
      '[encoder endEncoding]',
      '[buffer endEncoding]',
      "'endEncoding'",
    ],
    ['a missing dimension', '{size.x, size.y, size.z}', '{size.x, size.y}', "'depth'"],
    ['a misspelt constant', 'TypeConcurrent', 'TypeParallel', "'MTLDispatchTypeParallel'"],
    ['nil where none may be', 'string_of(source.text)\n', 'nil\n', 'non-null'],
  ])('%s is diagnosed', (_, from, to, message) => {
    expect(text).toContain(from)
    const { status, stderr } = typeCheck(text.replace(from, to))
    expect(stderr).toContain(message)
    expect(status).not.toBe(0)
  })

  test('what SDKs before macOS 15 lack is diagnosed', () => {
    const { stderr } = typeCheck(
      text.replaceAll('#ifdef SSM_MACOS_15_SDK', '#if true'),
      '-D__MAC_OS_X_VERSION_MAX_ALLOWED=140000',
    )
    expect(stderr).toContain("'MTLMathModeSafe'")
  })
})

describe('the table of names', () => {
  const { stdout: tree } = typeCheck(
    text,
    ...['-Xclang', '-ast-dump', '-Xclang', '-ast-dump-filter=ssm'],
  )
  const used = (pattern: RegExp) =>
    [...new Set([...tree.matchAll(pattern)].map(([, name]) => name!))].sort()

  test('has every selector that the file sends, and no other', () => {
    expect(used(/ObjCMessageExpr .*\bselector=(\S+)/g)).toEqual(Object.keys(SELECTORS).sort())
  })

  test('has every constant that the file names, and no other', () => {
    expect(used(/EnumConstant 0x\w+ '(MTL\w+)'/g)).toEqual(Object.keys(CONSTANTS).sort())
  })

  test('has every function of Metal that the file calls, and no other', () => {
    expect(used(/ Function 0x\w+ '(MTL\w+)'/g)).toEqual(Object.keys(FUNCTIONS).sort())
  })

  const check = (change: number) =>
    typeCheck(
      `#import <Metal/Metal.h>\n${Object.entries(CONSTANTS)
        .map(([name, { value }]) => `static_assert(${name} == ${value + change}, "${name}");`)
        .join('\n')}`,
      ...['-Wno-unguarded-availability-new', '-ferror-limit=0'],
    )

  test('holds the values of our headers', () => {
    expect(check(0)).toMatchObject({ status: 0, stderr: '' })
  })

  test('would find another value of each', () => {
    const { stderr } = check(1)
    const found = [...stderr.matchAll(/static assertion failed.*: (MTL\w+)$/gm)]
    expect(found.map(([, name]) => name)).toEqual(Object.keys(CONSTANTS))
  })
})
