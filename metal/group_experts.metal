// tiles = the numbers of the products of each expert, in their order, kExpertTile of them a tile
//
// Grid: one threadgroup. A simdgroup takes an expert at a time and looks for it in all products,
// once to count them and once to place them: what it writes depends on nobody else's progress.
// Threadgroup memory: a word an expert, and one more.
#include <metal_stdlib>

#include "metal/common.h"
#include "metal/group_experts.h"

// Whether product i is this expert's. A number that is no expert's stands for the last one.
inline uint is_of_expert(device const uint* chosen, uint i, uint expert,
                         constant GroupExpertsParams& p) {
  return i < p.rows && min(chosen[i], p.experts - 1) == expert ? 1 : 0;
}

// How many tiles each expert has becomes how many the ones before it have; behind the last expert
// is the sum. A whole simdgroup calls it.
ALWAYS_INLINE void sum_tiles(threadgroup uint* tiles, uint experts, uint lane) {
  uint before = 0;
  for (uint first = 0; first < experts; first += 32) {
    const uint expert = first + lane;
    const uint mine = expert < experts ? tiles[expert] : 0;
    const uint sum = before + simd_prefix_exclusive_sum(mine);
    if (expert < experts) tiles[expert] = sum;
    before += simd_sum(mine);
  }
  if (lane == 0) tiles[experts] = before;
}

// Writes the tiles of an expert, from `to` on. A whole simdgroup calls it.
ALWAYS_INLINE void place_products(device const uint* chosen, uint expert, device uint* to,
                                  uint places, uint lane, constant GroupExpertsParams& p) {
  uint placed = 0;
  for (uint first = 0; first < p.rows; first += 32) {
    const uint mine = is_of_expert(chosen, first + lane, expert, p);
    const uint before = simd_prefix_exclusive_sum(mine);
    if (mine != 0) to[placed + before] = first + lane;
    placed += simd_sum(mine);
  }
  for (uint i = placed + lane; i < places; i += 32) to[i] = kNoProduct;
}

[[kernel]] void group_experts(device const uint* chosen [[buffer(0)]],  // (rows)
                              device uint* tiles [[buffer(1)]],         // (tiles, kExpertTile)
                              constant GroupExpertsParams& p [[buffer(2)]],
                              threadgroup uint* first_tile [[threadgroup(0)]],  // (experts + 1)
                              uint thread_index [[thread_index_in_threadgroup]],
                              uint threads [[threads_per_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  for (uint expert = simdgroup; expert < p.experts; expert += simdgroups) {
    uint count = 0;
    for (uint i = lane; i < p.rows; i += 32) count += is_of_expert(chosen, i, expert, p);
    count = simd_sum(count);
    if (lane == 0) first_tile[expert] = (count + kExpertTile - 1) / kExpertTile;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) sum_tiles(first_tile, p.experts, lane);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint expert = simdgroup; expert < p.experts; expert += simdgroups) {
    const uint first = first_tile[expert], end = first_tile[expert + 1];
    place_products(chosen, expert, tiles + first * kExpertTile, (end - first) * kExpertTile, lane,
                   p);
  }
  const uint used = first_tile[p.experts] * kExpertTile;
  for (uint i = used + thread_index; i < p.tiles * kExpertTile; i += threads) {
    tiles[i] = kNoProduct;
  }
}
