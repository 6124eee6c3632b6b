// The steps of attention of one query over many keys, which attention_decode and
// paged_attention_decode share. The simdgroups of a threadgroup share the keys: each takes blocks
// of 32 for all heads of the threadgroup, and at the end they put their softmax together in
// threadgroup memory. A lane holds kLaneColumns neighbouring columns, so as few lanes as hold a
// head (a power of two) take a key, and a simdgroup takes some keys side by side: the wider the
// reads of a lane, the fewer lanes a score is summed over. The softmax is online, with one
// correction a block. What keys and values come from is up to the kernel, by a function
// load_key(from, key, first). Scores that are NaN or infinite give NaN, but -infinity beside finite
// ones, which weighs nothing.
#pragma once
#include "metal/common.h"
#include "metal/tile_shape.h"

SSM_CONSTANT(uint, head_dim);
SSM_CONSTANT(uint, block_heads);  // of a threadgroup, at most kDecodeHeads
// Keys of a lane whose reads are under way at once: a power of two, up to kDecodeKeys. Beyond the
// last key of a run the last one is read again, and it weighs nothing.
SSM_CONSTANT(uint, together);
// head_dim is a multiple of kLaneColumns, and rows of what is read start at multiples of 16 bytes.
SSM_CONSTANT(bool, aligned_loads);

constant constexpr uint kLaneColumns = 8;
constant constexpr float kLowest = -3.4028235e38f;

// Columns `first` and on of a row: zeros beyond the head.
struct Columns {
  float4 low, high;
};

template <class T>
ALWAYS_INLINE Columns load_columns(device const T* row, uint first) {
  Columns result = {float4(0.0f), float4(0.0f)};
  if (first + kLaneColumns <= head_dim) {
    load8(row + first, aligned_loads, result.low, result.high);
  } else if (!aligned_loads && first < head_dim) {
    const uint count = head_dim - first;
    result.low = load_some(row + first, count);
    if (count > 4) result.high = load_some(row + first + 4, count - 4);
  }
  return result;
}

// Lanes of a key: as few as hold a head, a power of two.
ALWAYS_INLINE uint key_lanes() {
  return head_dim <= kLaneColumns        ? 1
         : head_dim <= 2 * kLaneColumns  ? 2
         : head_dim <= 4 * kLaneColumns  ? 4
         : head_dim <= 8 * kLaneColumns  ? 8
         : head_dim <= 16 * kLaneColumns ? 16
                                         : 32;
}
ALWAYS_INLINE uint keys_aside() { return 32 / key_lanes(); }
// Steps of keys side by side that are under way at once.
ALWAYS_INLINE uint steps_together() { return min(together, key_lanes()); }

// Of a lane: `place` among those of its key, which takes columns `first` and on; its key is number
// `beside` of those side by side.
struct LaneShare {
  uint lane, place, first, beside;
};

ALWAYS_INLINE LaneShare lane_share(uint lane) {
  LaneShare share;
  share.lane = lane;
  share.place = lane % key_lanes();
  share.first = kLaneColumns * share.place;
  share.beside = lane / key_lanes();
  return share;
}

// A block of up to 32 keys of a simdgroup's run, by the numbers that their source knows them by.
// Step n takes keys n * keys_aside() and on, one each key_lanes(); score and weight of a key stay
// in lane n of those.
struct Block {
  uint first, count;  // its keys
  uint last;          // of the run
};

ALWAYS_INLINE uint key_of_step(Block block, uint step, LaneShare share) {
  return min(block.first + step * keys_aside() + share.beside, block.last);
}

// What a simdgroup has so far of the heads of its threadgroup: a lane its columns of query and sum;
// largest score and sum of weights are the same in every lane.
struct Heads {
  Columns query[kDecodeHeads], sums[kDecodeHeads];
  float largest[kDecodeHeads], total[kDecodeHeads];
};

// Scores of a block's keys; the whole simdgroup calls it.
template <class Keys>
ALWAYS_INLINE void find_scores(thread float (&score)[kDecodeHeads], thread const Heads& heads,
                               Keys keys, Block block, LaneShare share) {
  UNROLL for (uint i = 0; i < block_heads; ++i) score[i] = kLowest;
  for (uint n = 0; n * keys_aside() < block.count; n += steps_together()) {
    Columns key[kDecodeKeys];
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      key[m] = load_key(keys, key_of_step(block, n + m, share), share.first);
    }
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      UNROLL for (uint i = 0; i < block_heads; ++i) {
        float product = dot(heads.query[i].low, key[m].low) + dot(heads.query[i].high, key[m].high);
        UNROLL for (uint step = 1; step < key_lanes(); step *= 2) {
          product += simd_shuffle_xor(product, ushort(step));
        }
        if (share.place == n + m) score[i] = product;
      }
    }
  }
}

// The softmax so far, with the block's scores in it: turns them into weights, and scales down what
// earlier blocks gave. The whole simdgroup calls it.
ALWAYS_INLINE void find_weights(thread float (&weight)[kDecodeHeads], thread Heads& heads,
                                thread const float (&score)[kDecodeHeads], Block block,
                                LaneShare share) {
  const bool inside = share.place * keys_aside() + share.beside < block.count;
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    const float now = max(heads.largest[i], simd_max(inside ? score[i] : kLowest));
    const float correction = precise::exp(heads.largest[i] - now);
    weight[i] = inside ? precise::exp(score[i] - now) : 0.0f;
    heads.total[i] = heads.total[i] * correction + simd_sum(weight[i]);
    heads.largest[i] = now;
    heads.sums[i].low *= correction;
    heads.sums[i].high *= correction;
  }
}

// Adds the block's values by their weights; the whole simdgroup calls it.
template <class Keys>
ALWAYS_INLINE void add_values(thread Heads& heads, thread const float (&weight)[kDecodeHeads],
                              Keys values, Block block, LaneShare share) {
  for (uint n = 0; n * keys_aside() < block.count; n += steps_together()) {
    Columns value[kDecodeKeys];
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      value[m] = load_key(values, key_of_step(block, n + m, share), share.first);
    }
    UNROLL for (uint m = 0; m < steps_together(); ++m) {
      UNROLL for (uint i = 0; i < block_heads; ++i) {
        const float w = simd_shuffle(weight[i], ushort(share.beside * key_lanes() + n + m));
        heads.sums[i].low += w * value[m].low;
        heads.sums[i].high += w * value[m].high;
      }
    }
  }
}

// Takes the keys of a block and their values; the whole simdgroup calls it.
template <class Keys>
ALWAYS_INLINE void attend_block(thread Heads& heads, Keys keys, Keys values, Block block,
                                LaneShare share) {
  float score[kDecodeHeads], weight[kDecodeHeads];
  find_scores(score, heads, keys, block, share);
  find_weights(weight, heads, score, block, share);
  add_values(heads, weight, values, block, share);
}

// Before the first block.
ALWAYS_INLINE void clear_sums(thread Heads& heads) {
  UNROLL for (uint i = 0; i < block_heads; ++i) {
    heads.sums[i].low = heads.sums[i].high = float4(0.0f);
    heads.largest[i] = kLowest;
    heads.total[i] = 0.0f;
  }
}

// Each simdgroup writes what it has of a head where the kernel's threadgroup memory has it. A
// barrier must follow.
ALWAYS_INLINE void write_run(threadgroup float* memory, thread const Columns& sums, float largest,
                             float total, LaneShare share, uint simdgroup, uint simdgroups) {
  UNROLL for (uint c = 0; c < kLaneColumns; ++c) {
    float sum = c < 4 ? sums.low[c % 4] : sums.high[c % 4];
    UNROLL for (uint step = key_lanes(); step < 32; step *= 2) {
      sum += simd_shuffle_xor(sum, ushort(step));
    }
    if (share.beside == 0 && share.first + c < head_dim) {
      memory[simdgroup * (head_dim + 1) + share.first + c] = sum;
    }
  }
  if (share.lane == 0) {
    threadgroup float* of_runs = memory + simdgroups * (head_dim + 1);
    of_runs[simdgroup] = largest;
    of_runs[simdgroups + simdgroup] = total;
  }
}

// The softmax of all simdgroups of a threadgroup, put together: the same in every lane, but for the
// factor by which a lane's simdgroup counts.
struct Joined {
  float largest, total, factor;
};

// A lane for each simdgroup. The whole simdgroup calls it.
ALWAYS_INLINE Joined join_runs(threadgroup const float* memory, uint lane, uint simdgroups) {
  threadgroup const float* of_runs = memory + simdgroups * (head_dim + 1);
  const float theirs = lane < simdgroups ? of_runs[lane] : kLowest;
  const float weights = lane < simdgroups ? of_runs[simdgroups + lane] : 0.0f;
  Joined joined;
  joined.largest = simd_max(theirs);
  joined.factor = precise::exp(theirs - joined.largest);
  joined.total = simd_sum(weights * joined.factor);
  return joined;
}

// The sum of column c, by the weights that add up to joined.total; the whole simdgroup calls it.
ALWAYS_INLINE float join_column(Joined joined, threadgroup const float* memory, uint c, uint lane,
                                uint simdgroups) {
  const float sum = lane < simdgroups ? memory[lane * (head_dim + 1) + c] : 0.0f;
  return simd_sum(lane < simdgroups ? joined.factor * sum : 0.0f);
}
