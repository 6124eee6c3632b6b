import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { EXPERT_TILE, mostExpertTiles, NO_PRODUCT } from '../../lib/operations/arguments.js'
import { download, runOnce, unwritten, upload } from '../support/arrays.js'
import { describeEachDevice } from '../support/with-device.js'
import { seededIntegers } from '../unit/random.js'

/** Tiles of the products of each expert. */
function tilesOf(chosen: number[], experts: number): number[] {
  const tiles: number[] = []
  for (let expert = 0; expert < experts; expert++) {
    const products = chosen.flatMap((each, i) => (Math.min(each, experts - 1) === expert ? i : []))
    while (products.length % EXPERT_TILE !== 0) products.push(NO_PRODUCT)
    tiles.push(...products)
  }
  return tiles
}

describeEachDevice('groupExperts', (device) => {
  test.each([
    { tokens: 1, k: 1, experts: 1, used: 1 },
    { tokens: 32, k: 1, experts: 1, used: 1 },
    { tokens: 33, k: 1, experts: 4, used: 1 },
    { tokens: 3, k: 2, experts: 50, used: 50 },
    { tokens: 61, k: 3, experts: 7, used: 5 },
    { tokens: 40, k: 5, experts: 70, used: 75 }, // some are no expert's number
  ])('$tokens tokens, $k of $experts experts', async ({ tokens, k, experts, used }) => {
    const below = seededIntegers(tokens)
    const chosen = Array.from({ length: tokens * k }, () => below(used))
    const count = mostExpertTiles(tokens * k, experts)
    const tiles = unwritten(device(), [count, EXPERT_TILE], 'uint32')
    await runOnce(device(), (cl) =>
      cl.groupExperts(upload(device(), 'uint32', [tokens, k], chosen), tiles, { experts }),
    )
    const expected = tilesOf(chosen, experts)
    expect(expected.length).toBeLessThanOrEqual(count * EXPERT_TILE)
    while (expected.length < count * EXPERT_TILE) expected.push(NO_PRODUCT)
    expect(download(tiles)).toEqual(expected)
  })
})

test('numbers tiles as metal/group_experts.h', () => {
  const header = readFileSync(new URL('../../metal/group_experts.h', import.meta.url), 'utf8')
  expect(header).toContain(`kExpertTile = ${EXPERT_TILE},`)
  expect(header).toContain(`kNoProduct = 0x${NO_PRODUCT.toString(16)},`)
})

test('no products need more tiles than there are', () => {
  // One each, and the rest with the first.
  for (const experts of [1, 2, 5, 70]) {
    for (const products of [1, 4, 5, 31, 32, 33, 69, 70, 71, 500]) {
      const rest = Math.max(0, products - experts)
      const needed = Math.min(products, experts) - 1 + Math.ceil((rest + 1) / EXPERT_TILE)
      expect(mostExpertTiles(products, experts)).toBe(needed)
    }
  }
})
