// The files that speak to Apple's API, compiled for a Mac against headers of our own (sdk/).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { appleFiles, root, typeCheck } from './clang.js'

const textOf = (file: string) => readFileSync(join(root, file), 'utf8')
const apple = (name: string) => textOf(`native/metal/apple/${name}`)

describe.each(appleFiles)('%s', (file) => {
  test.each([
    ['the SDK of macOS 15', []],
    ['the SDK of macOS 14', ['-DSDK_VERSION=140000']],
  ])('is right for %s', (_, more) => {
    expect(typeCheck(textOf(file), ...more)).toMatchObject({ status: 0, stderr: '' })
  })
})

describe('a mistake', () => {
  test.each([
    ['gpu.mm', 'an unknown selector', 'newCommandQueue]', 'newCommandQue]', "'newCommandQue'"],
    [
      'buffers.mm',
      'a wrong type',
      'const id<MTLBuffer> buffer = [device_',
      'const id<MTLLibrary> buffer = [device_',
      "variable of type 'const __strong id<MTLLibrary>'",
    ],
    [
      'residency.mm',
      'an API of macOS 15 that is not guarded',
      'if (@available(macOS 15.0, *)) {\n    if (set_',
      'if (true) {\n    if (set_',
      'only available on macOS 15.0 or newer',
    ],
    [
      '../metal_device.mm',
      "a block of another handler's type",
      '^(id<MTLCommandBuffer> done)',
      '^(id<MTLBuffer> done)',
      "'MTLCommandBufferHandler _Nonnull'",
    ],
    [
      'buffers.mm',
      'a pointer that ARC does not own',
      'if (buffer == nil) {',
      'void* raw = buffer; if (raw == nullptr) {',
      "cannot initialize a variable of type 'void *'",
    ],
    [
      '../metal_device.mm',
      'a method of another object',
      '[encoder endEncoding]',
      '[buffer endEncoding]',
      "'endEncoding'",
    ],
    [
      'encoded_list.mm',
      'a missing dimension',
      '{size.x, size.y, size.z}',
      '{size.x, size.y}',
      "'depth'",
    ],
    [
      '../metal_device.mm',
      'a misspelt constant',
      'TypeConcurrent',
      'TypeParallel',
      "'MTLDispatchTypeParallel'",
    ],
    ['pipelines.mm', 'nil where none may be', 'string_of(source.text)\n', 'nil\n', 'non-null'],
  ])('%s: %s is diagnosed', (file, _, from, to, message) => {
    const text = apple(file)
    expect(text).toContain(from)
    const { status, stderr } = typeCheck(text.replace(from, to))
    expect(stderr).toContain(message)
    expect(status).not.toBe(0)
  })

  test('what SDKs before macOS 15 lack is diagnosed', () => {
    const { stderr } = typeCheck(
      apple('pipelines.mm').replaceAll('#ifdef SSM_MACOS_15_SDK', '#if true'),
      '-DSDK_VERSION=140000',
    )
    expect(stderr).toContain("'MTLMathModeSafe'")
  })
})
