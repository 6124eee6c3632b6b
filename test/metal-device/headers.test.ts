// Our headers for Apple's frameworks (sdk/) against the source of objc2, which is generated from Apple's.
// All that the device uses of those frameworks is declared there, or it would not compile.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { prebuiltFile } from '../../scripts/prebuilds/targets.js'
import { readMachO } from '../prebuilds/mach-o.js'
import { type Api, differences, findMethod } from './api.js'
import { root } from './clang.js'
import { readObjc2 } from './objc2.js'
import { readSdk } from './sdk-headers.js'

const header = (name: string) =>
  readFileSync(join(root, 'test/metal-device/sdk', name), 'utf8').replace('#pragma once', '')
const both = header('Foundation/Foundation.h') + header('Metal/Metal.h').replace(/#import.*/, '')

let apples: Api
beforeAll(() => {
  apples = readObjc2(join(root, '.cache'))
}, 300_000)

test('everything that they declare is as Apple declares it', () => {
  const ours = readSdk('#import <Metal/Metal.h>')
  expect(differences(ours, apples)).toEqual([])
  // Read at all: one of each kind.
  expect(findMethod(ours, 'MTLDevice', 'newCommandQueue')).toBeDefined()
  expect(ours.constants.get('MTLGPUFamilyApple7')).toBe(1007n)
  expect(ours.enums.get('MTLMathMode')).toBe('NSInteger')
  expect(ours.structs.get('MTLSize')).toHaveLength(3)
  expect(ours.aliases.has('MTLCommandBufferHandler')).toBe(true)
  expect(ours.variables.get('MTLCommandBufferErrorDomain')).toBe('NSString *')
  expect(ours.functions.has('MTLCreateSystemDefaultDevice')).toBe(true)
})

describe('a mistake is found', () => {
  test.each([
    ['a selector', 'setBuffer:(nullable', 'setBuffers:(nullable', 'setBuffers:offset:atIndex:'],
    [
      'a parameter',
      'setBytes:(const void *)',
      'setBytes:(NSUInteger)',
      'parameter 0: ours "NSUInteger"',
    ],
    ['a result', '(BOOL)supportsFamily', '(NSUInteger)supportsFamily', 'supportsFamily:: result'],
    [
      'what may be null',
      '(nullable id<MTLCommandQueue>)',
      '(id<MTLCommandQueue>)',
      'newCommandQueue',
    ],
    ['a property', 'NSUInteger maxBufferLength', 'NSInteger maxBufferLength', 'maxBufferLength'],
    [
      'the owner of a method',
      '- (BOOL)supportsFamily',
      '- (void)commit;\n- (BOOL)supportsFamily',
      'MTLDevice commit',
    ],
    [
      'a class method',
      '+ (nullable instancetype)string',
      '- (nullable instancetype)string',
      'is a class method',
    ],
    ['a constant', 'Apple7 = 1007', 'Apple7 = 1006', 'MTLGPUFamilyApple7: ours 1006'],
    [
      'the name of a constant',
      'MTLBarrierScopeBuffers =',
      'MTLBarrierScopeMemory =',
      'MTLBarrierScopeMemory',
    ],
    [
      'the type of a constant',
      'NS_ENUM(NSInteger, MTLGPUFamily)',
      'NS_ENUM(int, MTLGPUFamily)',
      'MTLGPUFamily: type',
    ],
    [
      'the name of a variable',
      'MTLCommandBufferErrorDomain',
      'MTLCommandBufferDomain',
      'MTLCommandBufferDomain: Apple has none',
    ],
    [
      'the type of a variable',
      'NSString *const MTLCommandBufferErrorDomain',
      'NSError *const MTLCommandBufferErrorDomain',
      'MTLCommandBufferErrorDomain: ours "NSError *"',
    ],
    ['a struct', 'NSUInteger width, height, depth', 'NSUInteger height, width, depth', 'MTLSize'],
    [
      'a handler',
      'MTLCommandBufferHandler)(id<MTLCommandBuffer>)',
      'MTLCommandBufferHandler)(void)',
      'MTLCommandBufferHandler',
    ],
    [
      'who owns a result',
      '__attribute__((ns_returns_retained))',
      '',
      'MTLCreateSystemDefaultDevice: is retained',
    ],
    [
      'a protocol',
      '@protocol MTLComputePipelineState <NSObject>',
      '@protocol MTLComputePipelineState <MTLBuffer>',
      'MTLComputePipelineState: is MTLBuffer',
    ],
  ])('%s', (_, from, to, message) => {
    expect(both).toContain(from)
    const ours = readSdk(both.replace(from, to), '-Wno-everything')
    expect(differences(ours, apples).join('\n')).toContain(message)
  })
})

const binary = prebuiltFile(root, 'darwin-arm64')
test.skipIf(!process.env.CI && !existsSync(binary))('so is every selector in the binary', () => {
  const { selectors } = readMachO(readFileSync(binary))
  const known = new Set([...apples.objects.values()].flatMap(({ methods }) => [...methods.keys()]))
  expect(selectors.length).toBeGreaterThan(30)
  expect(selectors.filter((selector) => !known.has(selector))).toEqual([])
})
