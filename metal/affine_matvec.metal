// out[r, n] = activation(sum over k of norm(x)[r, k] * (scale * q[n, k] + bias of the group)
//             + bias[n]) * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// The kernel of affine_matmul for steps; any rows of x, any outputs, any inputs that groups divide,
// float32 accumulation. A simdgroup computes vector_outputs outputs of every row of a block of rows
// (matvec.h). A lane takes lane_words neighbouring words of each of them at a time, which never
// cross a group, and keeps them for all rows of the block, which reads a weight exactly once.
// (Beyond the last output the last one is computed again.) `reads` such reads are under way
// together, whatever vector_outputs is. The sum over a lane's part of a group is scale * sum(x * q)
// + bias * sum(x). Values are masked, not shifted, out of their word: what is left is q * 2^(bits *
// i), so x is multiplied by 2^-(bits * i) before, exactly. All of that is done to x once a
// threadgroup, a chunk of staged_columns at a time, in threadgroup memory, while the first weights
// are on their way; the sums of x over each lane's part go there too. A norm costs no pass of its
// own: its weight goes into x, the squares of x are summed beside, and what a group of columns
// gives is scaled at the group's end; a lane's part of the words must lie in one of them. The order
// of a row's sums depends on lane_words and on the number of simdgroups, not on staged_columns and
// not on the rows beside it. Grid: one simdgroup every vector_outputs outputs of a block, or fewer
// that take several rounds; any number of whole simdgroups a threadgroup. Threadgroup memory:
// vector_rows * staged_columns floats; as many / lane_values; vector_rows * simdgroups.
#include <metal_stdlib>

#include "metal/affine_matmul.h"
#include "metal/matvec.h"

// Where a GPU converts integers slowly. A value masked out of the lower half of a word, put into
// the bits of 2^23, is 2^23 + value: exact, for a bit operation and a subtraction.
SSM_CONSTANT(bool, by_exponent);

// The bits of 2^23, as a number that no compiler sees through (`bits` is at most 8): with two
// constants at hand it would mask and place a value in two instructions.
inline uint exponent_of(uint bits) { return 0x4b000000u + (bits >> 8); }

// By what x[i] is multiplied, because value i of a word, or of half a word, stays at its bits.
template <uint bits>
inline float unit_of(uint i) {
  const uint values = by_exponent ? 16 / bits : 32 / bits;
  return 1.0f / float(1u << (bits * (i % values)));
}

// sum over i of v[i] * q[i] for the values q of a word, where v, four a vector, holds
// x[i] * unit_of(i). `exponent`: exponent_of.
template <uint bits>
inline float masked_dot(uint word, thread const float4* v, uint exponent) {
  constexpr uint kMask = (1u << bits) - 1, kHalfValues = 16 / bits;
  float sum = 0.0f;
  UNROLL for (uint i = 0; i < 32 / bits; ++i) {
    if (by_exponent) {
      const uint half_word = i < kHalfValues ? word : word >> 16;
      const uint value = half_word & (kMask << (bits * (i % kHalfValues)));
      sum += v[i / 4][i % 4] * (as_type<float>(exponent | value) - 8388608.0f);
    } else {
      sum += v[i / 4][i % 4] * float(word & (kMask << (bits * i)));
    }
  }
  return sum;
}

// Words that a lane of affine_matvec takes at once: 4, or 2 where blocks of many rows want it.
SSM_CONSTANT(uint, lane_words);
// Of each row of x in threadgroup memory: a multiple of what 32 lanes take at once.
SSM_CONSTANT(uint, staged_columns);
SSM_CONSTANT(uint, reads);  // that a lane has under way, up to kVectorReads

// Some words of a row, side by side.
inline uint4 load_words(device const uint* from) {
  if (lane_words == 2) {
    const uint2 two =
        aligned_loads ? *(device const uint2*)from : uint2(*(device const packed_uint2*)from);
    return uint4(two.x, two.y, 0, 0);
  }
  return aligned_loads ? *(device const uint4*)from : uint4(*(device const packed_uint4*)from);
}

// The place in `staged` of columns 4 * quarter and on of lane `lane`'s part of a block, which is
// what 32 lanes take at once. Neighbouring lanes read neighbours; the bits of `quarter` spread what
// neighbouring threads write over the banks of the memory.
template <uint bits>
inline uint staged_at(uint block, uint lane, uint quarter) {
  const uint quarters = lane_words * 8 / bits;
  return (block * quarters + quarter) * 32 + (lane ^ quarter);
}

// Puts `cols` columns of a row of x, times those of the norm's weight, where the lanes will read
// them, and the sum of each lane's part into `sums`. Returns this thread's share of the sum of the
// squares of x. Whole simdgroups call it, each thread with its place among them: a lane's part is
// that of neighbouring threads.
template <uint bits, class In>
inline float stage(threadgroup float4* staged, threadgroup float* sums, device const In* x,
                   device const float* norm_weight, uint cols, uint place, uint threads) {
  const uint eights = lane_words * 4 / bits;  // of a lane's part
  float squared = 0.0f;
  for (uint i = place; i < (cols / 8 + 31 & ~31u); i += threads) {
    const bool inside = 8 * i < cols;
    float4 low = float4(0.0f), high = float4(0.0f);
    if (inside) {
      load8(x + 8 * i, aligned_loads, low, high);
      if (normed) {
        float4 norm_low, norm_high;
        load8(norm_weight + 8 * i, aligned_loads, norm_low, norm_high);
        squared += dot(low, low) + dot(high, high);
        low *= norm_low;
        high *= norm_high;
      }
    }
    const float4 both = low + high;
    float sum = (both.x + both.y) + (both.z + both.w);
    for (uint step = 1; step < eights; step *= 2) sum += simd_shuffle_xor(sum, ushort(step));
    if (!inside) continue;
    const uint part = i / eights, quarter = 2 * (i % eights);
    if (quarter == 0) sums[part] = sum;
    staged[staged_at<bits>(part / 32, part % 32, quarter)] =
        low * float4(unit_of<bits>(0), unit_of<bits>(1), unit_of<bits>(2), unit_of<bits>(3));
    staged[staged_at<bits>(part / 32, part % 32, quarter + 1)] =
        high * float4(unit_of<bits>(4), unit_of<bits>(5), unit_of<bits>(6), unit_of<bits>(7));
  }
  return squared;
}

// The place of a thread that stages the columns from `begin` on. Where it sums squares, eight
// columns of a row meet the same thread however many are staged at a time.
inline uint staging_place(uint begin, uint thread_index, uint threads) {
  if (!normed || by_squares) return thread_index;
  return (thread_index + threads - begin / 8 % threads) % threads;
}

// Values of one output that a lane takes at once, and that the 32 lanes do, which is a block.
template <uint bits>
inline uint lane_values() {
  return lane_words * (32 / bits);
}
template <uint bits>
inline uint block_values() {
  return 32 * lane_values<bits>();
}

// Blocks whose reads are under way at once.
template <uint bits>
inline uint blocks_together() {
  return clamp(reads / vector_outputs, 1u, staged_columns / block_values<bits>());
}

// Where a thread stands in its threadgroup.
struct Place {
  uint thread_index, lane, simdgroup, simdgroups;
};

// What is read from device memory for the sums; the kernel has the shapes.
template <class In, class Scale>
struct Operands {
  device const In* x;
  device const Scale* scales;
  device const Scale* biases;
  device const float* norm_weight;
  device const float* squares;
  uint group_shift;  // of columns that share a scale: a division would cost more
  uint exponent;     // exponent_of
};

// What a threadgroup keeps of x; the kernel has the shapes.
struct StagedRows {
  threadgroup float4* values;
  threadgroup float* sums;     // of the values of each lane's part
  threadgroup float* squares;  // what each simdgroup has of a row's sum of squares
  bool stays;                  // all of x fits; else it comes again for each round
};

// Columns of x that lie in threadgroup memory together.
struct Chunk {
  uint group;   // of the norm, that they are in
  uint begin;   // the first of them, in the group
  uint column;  // the same, in the row
  uint cols;    // how many, up to staged_columns
};

// The weights of the outputs of a simdgroup.
struct WeightRows {
  device const uint* words[kVectorOutputs];  // the row of each
  ulong groups[kVectorOutputs];              // place of its first scale and bias
};

// Rows of the weight for outputs `first` and on; beyond the last output, the last row again.
template <uint bits>
ALWAYS_INLINE WeightRows weight_rows(device const uint* words, uint first, uint group_shift,
                                     constant AffineMatmulParams& p) {
  WeightRows rows;
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    const ulong n = min(first + j, p.outputs - 1);
    rows.words[j] = words + n * (p.inputs / (32 / bits));
    rows.groups[j] = n * (p.inputs >> group_shift);
  }
  return rows;
}

// What a lane has under way of blocks_together blocks: element u * vector_outputs + j is of block u
// and output j.
struct LaneWeights {
  uint4 words[kVectorReads];
  float scales[kVectorReads], biases[kVectorReads];
};

// Each lane reads its part of the blocks from column `at` of the chunk on, up to column `cols`.
template <uint bits, class In, class Scale>
ALWAYS_INLINE void load_weights(thread LaneWeights& to, thread const WeightRows& rows,
                                thread const Operands<In, Scale>& from, Chunk chunk, uint at,
                                uint cols, uint lane) {
  UNROLL for (uint u = 0; u < blocks_together<bits>(); ++u) {
    const uint here = at + u * block_values<bits>() + lane * lane_values<bits>();
    const uint k = chunk.column + here;
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const uint i = u * vector_outputs + j;
      if (here >= cols) continue;
      to.words[i] = load_words(rows.words[j] + k / (32 / bits));
      to.scales[i] = float(from.scales[rows.groups[j] + (k >> from.group_shift)]);
      to.biases[i] = float(from.biases[rows.groups[j] + (k >> from.group_shift)]);
    }
  }
}

// All threads put a chunk of the rows from `first_row` on into threadgroup memory, where all can
// read it afterwards. `squared`: what the thread has of each row's sum of squares.
template <uint bits, class In, class Scale>
ALWAYS_INLINE void stage_rows(StagedRows staged, thread float (&squared)[kVectorRows],
                              thread const Operands<In, Scale>& from, uint first_row, Chunk chunk,
                              Place at, constant AffineMatmulParams& p) {
  const uint threads = 32 * at.simdgroups;
  const uint place = staging_place(chunk.begin, at.thread_index, threads);
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    squared[r] += stage<bits>(staged.values + r * (staged_columns / 4),
                              staged.sums + r * (staged_columns / lane_values<bits>()),
                              from.x + ulong(first_row + r) * p.x_stride + chunk.column,
                              from.norm_weight + chunk.column, chunk.cols, place, threads);
    if (normed && !by_squares) {
      const float of_simdgroup = simd_sum(squared[r]);
      if (at.lane == 0) staged.squares[r * at.simdgroups + at.simdgroup] = of_simdgroup;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

// What each row is to be multiplied by. Whole simdgroups call it, after stage_rows; it is right
// after the last chunk of a group.
ALWAYS_INLINE void find_norm(thread float (&norm)[kVectorRows], StagedRows staged,
                             device const float* squares, uint first_row, uint group, Place at,
                             constant AffineMatmulParams& p) {
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    norm[r] = 1.0f;
    if (!normed) continue;
    const bool summed = !by_squares && at.lane < at.simdgroups;
    norm[r] =
        norm_scale(summed ? staged.squares[r * at.simdgroups + at.lane] : 0.0f, squares,
                   first_row + r, group, p.norm_parts, p.norm_group_cols, p.norm_eps, at.lane);
  }
}

// Adds the products of a lane's part of block `block` of the chunk with the weights that were read
// as block `u`.
template <uint bits>
ALWAYS_INLINE void add_block(thread OutputSums& sums, thread const LaneWeights& weights, uint u,
                             StagedRows staged, uint block, uint exponent, uint lane) {
  constexpr uint kWordValues = 32 / bits;
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    threadgroup const float4* x = staged.values + r * (staged_columns / 4);
    float product[kVectorOutputs] = {};
    UNROLL for (uint w = 0; w < lane_words; ++w) {
      float4 v[kWordValues / 4];
      UNROLL for (uint q = 0; q < kWordValues / 4; ++q) {
        v[q] = x[staged_at<bits>(block, lane, w * (kWordValues / 4) + q)];
      }
      UNROLL for (uint j = 0; j < vector_outputs; ++j) {
        product[j] += masked_dot<bits>(weights.words[u * vector_outputs + j][w], v, exponent);
      }
    }
    const float total = staged.sums[r * (staged_columns / lane_values<bits>()) + block * 32 + lane];
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const uint i = u * vector_outputs + j;
      sums.of[j][r] += weights.scales[i] * product[j] + weights.biases[i] * total;
    }
  }
}

// What a threadgroup carries from round to round.
struct Progress {
  bool staged;              // something is in threadgroup memory
  float norm[kVectorRows];  // what each row is to be multiplied by
};

// Sums over the columns of one group of the norm, before it; all threads call it. `active`: the
// simdgroup has an output.
template <uint bits, class In, class Scale>
ALWAYS_INLINE OutputSums sum_group(thread Progress& progress, thread const WeightRows& rows,
                                   thread const Operands<In, Scale>& from, StagedRows staged,
                                   uint first_row, uint group, bool active, Place place,
                                   constant AffineMatmulParams& p) {
  const uint together = blocks_together<bits>(), block = block_values<bits>();
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;
  OutputSums sums = {};
  float squared[kVectorRows] = {};
  for (uint begin = 0; begin < group_cols; begin += staged_columns) {
    const uint cols = min(group_cols - begin, staged_columns);
    const Chunk chunk = {group, begin, group * group_cols + begin, cols};
    const uint own_cols = active ? cols : 0;
    for (uint at = 0; at < cols; at += together * block) {
      LaneWeights weights;
      load_weights<bits>(weights, rows, from, chunk, at, own_cols, place.lane);
      if (at == 0 && !(staged.stays && progress.staged)) {
        if (progress.staged) threadgroup_barrier(mem_flags::mem_threadgroup);  // all have read it
        progress.staged = true;
        stage_rows<bits>(staged, squared, from, first_row, chunk, place, p);
        find_norm(progress.norm, staged, from.squares, first_row, group, place, p);
      }
      UNROLL for (uint u = 0; u < together; ++u) {
        if (at + u * block + place.lane * lane_values<bits>() >= own_cols) continue;
        add_block<bits>(sums, weights, u, staged, at / block + u, from.exponent, place.lane);
      }
    }
  }
  return sums;
}

template <uint bits, class In, class Out, class Scale>
[[kernel]] void affine_matvec(
    device const In* x [[buffer(0)]],                         // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],                   // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],                 // (outputs, inputs / group_size)
    device const Scale* biases [[buffer(3)]],                 // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_scale, 4, device const float* scale)     // (outputs)
    SSM_OPTIONAL(has_bias, 5, device const float* bias)       // (outputs)
    SSM_OPTIONAL(normed, 6, device const float* norm_weight)  // (inputs)
    SSM_OPTIONAL(by_squares, 7, device const float* squares)  // (rows, norm_parts)
    SSM_OPTIONAL(gated, 8, device const Out* gate)            // (rows, outputs)
    SSM_OPTIONAL(has_residual, 9, device const Out* residual)  // (rows, outputs)
    device Out* out [[buffer(10)]],                            // (rows, outputs); may be residual
    constant AffineMatmulParams& p [[buffer(11)]],
    threadgroup float4* staged [[threadgroup(0)]],  // (vector_rows, staged_columns / 4): staged_at
    threadgroup float* sums [[threadgroup(1)]],     // (vector_rows, staged_columns / lane_values)
    threadgroup float* scratch [[threadgroup(2)]],  // (vector_rows, simdgroups)
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint threadgroups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_scale, device const float* scale);
  SSM_ABSENT(has_bias, device const float* bias);
  SSM_ABSENT(normed, device const float* norm_weight);
  SSM_ABSENT(by_squares, device const float* squares);
  SSM_ABSENT(gated, device const Out* gate);
  SSM_ABSENT(has_residual, device const Out* residual);
  const Place place = {thread_index, lane, simdgroup, simdgroups};
  const Operands<In, Scale> from = {
      x, scales, biases, norm_weight, squares, ctz(p.group_size), exponent_of(p.bits)};
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;
  const bool stays = norm_groups == 1 && group_cols <= staged_columns;
  const StagedRows rows_of_x = {staged, sums, scratch, stays};
  const RowBlock rows = row_block(threadgroup_index, p.rows);
  Progress progress;
  progress.staged = false;

  // A round: vector_outputs outputs of each simdgroup, from `first` on.
  const uint of_threadgroup = simdgroups * vector_outputs;
  for (uint before = threadgroup_index / row_blocks * of_threadgroup; before < p.outputs;
       before += threadgroups / row_blocks * of_threadgroup) {
    const uint first = before + simdgroup * vector_outputs;
    const WeightRows weights = weight_rows<bits>(words, first, from.group_shift, p);
    // Lane j finishes output first + j.
    const uint own = first + lane;
    const bool finishes = lane < vector_outputs && own < p.outputs;
    float added[kVectorRows];
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      const bool written = finishes && r >= rows.done;
      const ulong i = ulong(rows.first + r) * p.outputs + own;
      added[r] = written ? residual_of(residual, i) : 0.0f;
    }
    OutputSums sum = {};
    for (uint group = 0; group < norm_groups; ++group) {
      const OutputSums part = sum_group<bits>(progress, weights, from, rows_of_x, rows.first, group,
                                              first < p.outputs, place, p);
      add_scaled(sum, part, progress.norm);
    }
    UNROLL for (uint r = 0; r < vector_rows; ++r) {
      const float mine = own_output(sum, r, lane);
      if (!finishes || r < rows.done) continue;
      const ulong i = ulong(rows.first + r) * p.outputs + own;
      store_linear(mine, own, i, scale, bias, gate, added[r], out);
    }
  }
}

// The bits, then the types of x, out and the scales.
INSTANTIATE(affine_matvec, (4, 8), (float32, float16), (float32, float16),
            (float32, float16, bfloat16));
