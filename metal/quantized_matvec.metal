// out[r, n] = activation(sum over k of norm(x)[r, k] * (scale * q[n, k] + bias of the group)
//             + bias[n]) * gate[r, n] + residual[r, n]; what is absent is left out (linear.h)
//
// The kernel of quantized_matmul for steps; any rows of x, any outputs, any inputs that groups
// divide, float32 accumulation. A simdgroup computes vector_outputs outputs of every row of a block
// of rows (matvec.h). A lane takes lane_values neighbouring values of each of them at a time, which
// lie in one group, and keeps them for all rows of the block, which reads a weight exactly once.
// (Beyond the last output the last one is computed again.) `reads` such reads are under way
// together, whatever vector_outputs is. The sum over a lane's part of a group is scale * sum(x * q)
// + bias * sum(x). Whole numbers of 4 or 8 bits are masked, not shifted, out of their word: what is
// left is q * 2^(bits * i), so x is multiplied by 2^-(bits * i) before, exactly. All of that is
// done to x once a threadgroup, a chunk of staged_columns at a time, in threadgroup memory, while
// the first weights are on their way; the sums of x over each lane's part go there too. A norm
// costs no pass of its own: its weight goes into x, the squares of x are summed beside, and what a
// group of columns gives is scaled at the group's end; a lane's part must lie in one of them. The
// order of a row's sums depends on lane_values and on the number of simdgroups, not on
// staged_columns and not on the rows beside it. Grid: one simdgroup every vector_outputs outputs of
// a block, or fewer that take several rounds; any number of whole simdgroups a threadgroup.
// Threadgroup memory: vector_rows
// * staged_columns floats; as many / lane_values; vector_rows * simdgroups.
#include <metal_stdlib>

#include "metal/matvec.h"
#include "metal/quantized.h"
#include "metal/quantized_matmul.h"

// Where a GPU converts integers slowly. A value put into the bits of 2^23 is 2^23 + value: exact,
// for a bit operation and a subtraction. A word masked has one such value in its lower half, and in
// its upper half one to be shifted there first.
SSM_CONSTANT(bool, by_exponent);

// The bits of 2^23, as a number that no compiler sees through (`bits` is at most 8): with two
// constants at hand it would mask and place a value in two instructions.
inline uint exponent_of(uint bits) { return 0x4b000000u + (bits >> 8); }

// Whether a mask alone takes values out of their word.
inline bool is_masked() { return mode == kAffine && (value_bits == 4 || value_bits == 8); }

// By what x[i] is multiplied, because value i of a word, or of half a word, stays at its bits.
inline float unit_of(uint i) {
  const uint values = (by_exponent ? 16 : 32) / value_bits;
  return is_masked() ? 1.0f / float(1u << (value_bits * (i % values))) : 1.0f;
}

inline float whole_number(uint value, uint exponent) {
  return by_exponent ? as_type<float>(exponent | value) - 8388608.0f : float(value);
}

// Value i of eight, times 1 / unit_of(i).
inline float masked_value(Eight eight, uint i, uint exponent) {
  const uint word = value_bits == 8 && i >= 4 ? eight.high : eight.low;
  const uint values = 32 / value_bits, place = i % values;
  const bool is_shifted = by_exponent && place >= values / 2;
  const uint at = value_bits * (is_shifted ? place - values / 2 : place);
  return whole_number((is_shifted ? word >> 16 : word) & (((1u << value_bits) - 1) << at),
                      exponent);
}

// sum over i of x[i] * q[i] for eight values q, where low and high hold x[i] * unit_of(i).
// `exponent`: exponent_of.
inline float dot_of_eight(Eight eight, float4 low, float4 high, uint exponent) {
  float sum = 0.0f;
  UNROLL for (uint i = 0; i < 8; ++i) {
    const float x = i < 4 ? low[i % 4] : high[i % 4];
    if (is_masked()) {
      sum += x * masked_value(eight, i, exponent);
    } else {
      const uint q = value_at(eight, i);
      sum += x * (mode == kAffine ? whole_number(q, exponent) : e2m1(q));
    }
  }
  return sum;
}

// Values of one output that a lane takes at once: 8, 16 or 32.
SSM_CONSTANT(uint, lane_values);
// Of each row of x in threadgroup memory: a multiple of what 32 lanes take at once.
SSM_CONSTANT(uint, staged_columns);
SSM_CONSTANT(uint, reads);  // that a lane has under way, up to kVectorReads

// Words of a lane's part: two to six.
inline uint lane_words() { return row_words(lane_values); }

// The first four words of a lane's part, side by side, and what follows them.
struct LaneWords {
  uint4 first;
  uint2 rest;
};

inline LaneWords load_words(device const uint* from) {
  LaneWords words;
  words.first = uint4(0);
  words.rest = uint2(0);
  const uint count = lane_words();
  if (count == 2) {
    const uint2 two =
        aligned_loads ? *(device const uint2*)from : uint2(*(device const packed_uint2*)from);
    words.first = uint4(two.x, two.y, 0, 0);
  } else if (count == 3) {
    words.first = uint4(from[0], from[1], from[2], 0);
  } else {
    words.first = aligned_loads && count == 4 ? *(device const uint4*)from
                                              : uint4(*(device const packed_uint4*)from);
  }
  if (count == 5) words.rest.x = from[4];
  if (count == 6) words.rest = uint2(*(device const packed_uint2*)(from + 4));
  return words;
}

inline uint word_of(LaneWords words, uint i) {
  return i < 4 ? words.first[i % 4] : words.rest[i % 2];
}

// Values 8 * i to 8 * i + 7 of a lane's part.
inline Eight lane_eight(LaneWords words, uint i) {
  const uint byte = i * value_bits;
  const uint second = has_second_word() ? word_of(words, byte / 4 + 1) : 0u;
  return eight_of(word_of(words, byte / 4), second, byte % 4);
}

// The place in `staged` of columns 4 * quarter and on of lane `lane`'s part of a block, which is
// what 32 lanes take at once. Neighbouring lanes read neighbours; the bits of `quarter` spread what
// neighbouring threads write over the banks of the memory.
inline uint staged_at(uint block, uint lane, uint quarter) {
  const uint quarters = lane_values / 4;
  return (block * quarters + quarter) * 32 + (lane ^ quarter);
}

// Puts `cols` columns of a row of x, times those of the norm's weight, where the lanes will read
// them, and the sum of each lane's part into `sums`. Returns this thread's share of the sum of the
// squares of x. Whole simdgroups call it, each thread with its place among them: a lane's part is
// that of neighbouring threads.
template <class In>
inline float stage(threadgroup float4* staged, threadgroup float* sums, device const In* x,
                   device const float* norm_weight, uint cols, uint place, uint threads) {
  const uint eights = lane_values / 8;  // of a lane's part
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
    staged[staged_at(part / 32, part % 32, quarter)] =
        low * float4(unit_of(0), unit_of(1), unit_of(2), unit_of(3));
    staged[staged_at(part / 32, part % 32, quarter + 1)] =
        high * float4(unit_of(4), unit_of(5), unit_of(6), unit_of(7));
  }
  return squared;
}

// The place of a thread that stages the columns from `begin` on. Where it sums squares, eight
// columns of a row meet the same thread however many are staged at a time.
inline uint staging_place(uint begin, uint thread_index, uint threads) {
  if (!normed || by_squares) return thread_index;
  return (thread_index + threads - begin / 8 % threads) % threads;
}

// Values of one output that the 32 lanes take at once, which is a block.
inline uint block_values() { return 32 * lane_values; }

// Blocks whose reads are under way at once.
inline uint blocks_together() {
  return clamp(reads / vector_outputs, 1u, staged_columns / block_values());
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
ALWAYS_INLINE WeightRows weight_rows(device const uint* words, uint first, uint group_shift,
                                     constant QuantizedMatmulParams& p) {
  WeightRows rows;
  UNROLL for (uint j = 0; j < vector_outputs; ++j) {
    const ulong n = min(first + j, p.outputs - 1);
    rows.words[j] = words + n * row_words(p.inputs);
    rows.groups[j] = n * (p.inputs >> group_shift);
  }
  return rows;
}

// What a lane has under way of blocks_together blocks: element u * vector_outputs + j is of block u
// and output j.
struct LaneWeights {
  LaneWords words[kVectorReads];
  GroupNumbers numbers[kVectorReads];
};

// Each lane reads its part of the blocks from column `at` of the chunk on, up to column `cols`.
template <class In, class Scale>
ALWAYS_INLINE void load_weights(thread LaneWeights& to, thread const WeightRows& rows,
                                thread const Operands<In, Scale>& from, Chunk chunk, uint at,
                                uint cols, uint lane) {
  UNROLL for (uint u = 0; u < blocks_together(); ++u) {
    const uint here = at + u * block_values() + lane * lane_values;
    const uint k = chunk.column + here;
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const uint i = u * vector_outputs + j;
      if (here >= cols) continue;
      to.words[i] = load_words(rows.words[j] + row_words(k));
      to.numbers[i] =
          numbers_of(from.scales, from.biases, rows.groups[j] + (k >> from.group_shift));
    }
  }
}

// All threads put a chunk of the rows from `first_row` on into threadgroup memory, where all can
// read it afterwards. `squared`: what the thread has of each row's sum of squares.
template <class In, class Scale>
ALWAYS_INLINE void stage_rows(StagedRows staged, thread float (&squared)[kVectorRows],
                              thread const Operands<In, Scale>& from, uint first_row, Chunk chunk,
                              Place at, constant QuantizedMatmulParams& p) {
  const uint threads = 32 * at.simdgroups;
  const uint place = staging_place(chunk.begin, at.thread_index, threads);
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    squared[r] += stage(staged.values + r * (staged_columns / 4),
                        staged.sums + r * (staged_columns / lane_values),
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
                             constant QuantizedMatmulParams& p) {
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
ALWAYS_INLINE void add_block(thread OutputSums& sums, thread const LaneWeights& weights, uint u,
                             StagedRows staged, uint block, uint exponent, uint lane) {
  UNROLL for (uint r = 0; r < vector_rows; ++r) {
    threadgroup const float4* x = staged.values + r * (staged_columns / 4);
    float product[kVectorOutputs] = {};
    UNROLL for (uint e = 0; e < lane_values / 8; ++e) {
      const float4 low = x[staged_at(block, lane, 2 * e)];
      const float4 high = x[staged_at(block, lane, 2 * e + 1)];
      UNROLL for (uint j = 0; j < vector_outputs; ++j) {
        const Eight eight = lane_eight(weights.words[u * vector_outputs + j], e);
        product[j] += dot_of_eight(eight, low, high, exponent);
      }
    }
    const float total = staged.sums[r * (staged_columns / lane_values) + block * 32 + lane];
    UNROLL for (uint j = 0; j < vector_outputs; ++j) {
      const uint i = u * vector_outputs + j;
      sums.of[j][r] += weights.numbers[i].scale * product[j];
      if (has_biases) sums.of[j][r] += weights.numbers[i].bias * total;
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
template <class In, class Scale>
ALWAYS_INLINE OutputSums sum_group(thread Progress& progress, thread const WeightRows& rows,
                                   thread const Operands<In, Scale>& from, StagedRows staged,
                                   uint first_row, uint group, bool active, Place place,
                                   constant QuantizedMatmulParams& p) {
  const uint together = blocks_together(), block = block_values();
  const uint group_cols = normed ? p.norm_group_cols : p.inputs;
  OutputSums sums = {};
  float squared[kVectorRows] = {};
  for (uint begin = 0; begin < group_cols; begin += staged_columns) {
    const uint cols = min(group_cols - begin, staged_columns);
    const Chunk chunk = {group, begin, group * group_cols + begin, cols};
    const uint own_cols = active ? cols : 0;
    for (uint at = 0; at < cols; at += together * block) {
      LaneWeights weights;
      load_weights(weights, rows, from, chunk, at, own_cols, place.lane);
      if (at == 0 && !(staged.stays && progress.staged)) {
        if (progress.staged) threadgroup_barrier(mem_flags::mem_threadgroup);  // all have read it
        progress.staged = true;
        stage_rows(staged, squared, from, first_row, chunk, place, p);
        find_norm(progress.norm, staged, from.squares, first_row, group, place, p);
      }
      UNROLL for (uint u = 0; u < together; ++u) {
        if (at + u * block + place.lane * lane_values >= own_cols) continue;
        add_block(sums, weights, u, staged, at / block + u, from.exponent, place.lane);
      }
    }
  }
  return sums;
}

template <class In, class Out, class Scale>
[[kernel]] void quantized_matvec(
    device const In* x [[buffer(0)]],                         // (rows, inputs), rows x_stride apart
    device const uint* words [[buffer(1)]],                   // (outputs, inputs * bits / 32)
    device const Scale* scales [[buffer(2)]],                 // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_biases, 3, device const Scale* biases)   // (outputs, inputs / group_size)
    SSM_OPTIONAL(has_scale, 4, device const float* scale)     // (outputs)
    SSM_OPTIONAL(has_bias, 5, device const float* bias)       // (outputs)
    SSM_OPTIONAL(normed, 6, device const float* norm_weight)  // (inputs)
    SSM_OPTIONAL(by_squares, 7, device const float* squares)  // (rows, norm_parts)
    SSM_OPTIONAL(gated, 8, device const Out* gate)            // (rows, outputs)
    SSM_OPTIONAL(has_residual, 9, device const Out* residual)  // (rows, outputs)
    device Out* out [[buffer(10)]],                            // (rows, outputs); may be residual
    constant QuantizedMatmulParams& p [[buffer(11)]],
    threadgroup float4* staged [[threadgroup(0)]],  // (vector_rows, staged_columns / 4): staged_at
    threadgroup float* sums [[threadgroup(1)]],     // (vector_rows, staged_columns / lane_values)
    threadgroup float* scratch [[threadgroup(2)]],  // (vector_rows, simdgroups)
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint threadgroups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  SSM_ABSENT(has_biases, device const Scale* biases);
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
    const WeightRows weights = weight_rows(words, first, from.group_shift, p);
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
      const OutputSums part = sum_group(progress, weights, from, rows_of_x, rows.first, group,
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

// The types of x, out and the scales.
INSTANTIATE(quantized_matvec, (float32, float16), (float32, float16),
            (float32, float16, bfloat16, uint8));
