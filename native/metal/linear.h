// What the dispatch code of matmul and affine_matmul shares.
#pragma once

#include "grid.h"
#include "matmul_shape.h"
#include "norm_rows.h"
#include "tile_shape.h"

namespace ssm::metal {

// The kernels of a matrix product, and which buffers of the operation are which. The norm's sums of
// squares follow its weight.
struct LinearKernels {
  const char* operation;       // as errors name it
  std::string matvec, matmat;  // names without the types of x, out and the weight
  size_t weight;               // the buffer whose type ends the names
  size_t norm_weight, out;
  uint32_t
      norm_step;  // the mat-vec kernel takes in norms of groups of a multiple of so many columns
  uint32_t bits;  // of a quantised weight, else 0
};

// A dispatch that norms x into scratch memory, as numbers of this type; returns where it is.
template <class Params>
Binding add_norm(const Operation& operation, const Params& p, size_t norm_weight, DataType type,
                 Program& program) {
  const Binding normed = program.scratch(size_t{p.rows} * p.inputs * size_of(type), type);
  const NormRowsParams params = {p.inputs, p.x_stride, p.norm_group_cols, p.norm_parts, p.norm_eps};
  Dispatch dispatch;
  dispatch.kernel = kernel_name("norm_rows", operation, {0}) + "_" + name_of(type);
  dispatch.constants = {{"by_squares", p.norm_parts != 0}};
  dispatch.buffers = {{0, operation.bindings[0], false},
                      {1, operation.bindings[norm_weight], false},
                      {3, normed, true}};
  if (p.norm_parts != 0)
    dispatch.buffers.push_back({2, operation.bindings[norm_weight + 1], false});
  dispatch.params_index = 4;
  dispatch.params.resize(sizeof(params));
  std::memcpy(dispatch.params.data(), &params, sizeof(params));
  one_threadgroup_each(dispatch, p.inputs / p.norm_group_cols, p.rows,
                       ceil_divide(p.norm_group_cols, 4), 256, sizeof(float), program.limits());
  program.add(dispatch);
  return normed;
}

// Outputs of a simdgroup: as many as leave enough simdgroups to fill the GPU.
inline uint32_t outputs_of_simdgroup(uint32_t outputs, const Limits& limits) {
  uint32_t result = limits.tuning.vector_outputs;
  while (result > 1 && ceil_divide(outputs, result) < limits.tuning.fill) result /= 2;
  return result;
}

// The part of x that a threadgroup of affine_matvec has in its memory at a time.
struct Staging {
  uint32_t lane_words;  // that a lane takes at once
  uint32_t columns;     // of each row of x
  uint32_t parts;       // of such a row, one for each lane that takes some
};

// `group`: columns normed together.
inline Staging staging_of(uint32_t rows, uint32_t group, uint32_t bits, const Limits& limits) {
  // All rows within three quarters of the memory: so there is room for the sums, and the smallest
  // part of eight rows fits.
  const uint32_t allowed = limits.threadgroup_memory / 16 * 3 / rows;
  const uint32_t most = std::min(limits.tuning.staged_columns / rows, allowed);
  const uint32_t word_values = 32 / bits;
  Staging result;
  result.lane_words = most >= 4 * word_values * kSimdWidth ? 4 : 2;
  const uint32_t block = result.lane_words * word_values * kSimdWidth;
  result.columns = std::clamp(most / block, 1u, ceil_divide(group, block)) * block;
  result.parts = result.columns / (result.lane_words * word_values);
  return result;
}

// What a mat-mat kernel works on (metal/linear_tile.h).
struct Tiles {
  uint32_t size;      // of outputs, in both directions
  DataType elements;  // type of the tiles' elements
};

// Weights that are not quantised have larger tiles, where these are enough to fill the GPU.
template <class Params>
Tiles tiles_of(const Params& p, bool quantised, DataType elements, const Tuning& tuning) {
  const uint64_t large =
      uint64_t{ceil_divide(p.rows, kLargeTile)} * ceil_divide(p.outputs, kLargeTile);
  const bool takes_large =
      !quantised && p.rows > kTile && p.outputs > kTile && large >= tuning.large_tiles;
  return {takes_large ? kLargeTile : kTile, elements};
}

// The dispatches of a matrix product: the mat-vec kernel for few rows of x, which takes in the norm
// where it can; otherwise a dispatch for the norm first, and the mat-mat kernel for many rows.
template <class Params>
void add_linear(const Operation& operation, Program& program, const LinearKernels& kernels) {
  auto p = operation.params<Params>();
  Binding x = operation.bindings[0];
  const bool few = p.step != 0 && p.rows <= program.limits().tuning.vector_rows;
  const bool normed = p.norm_group_cols != 0;
  const bool taken_in = normed && few && p.norm_group_cols % kernels.norm_step == 0;
  const bool quantised = kernels.bits != 0;
  // The mat-mat kernels multiply numbers of float16 where activations are: then x is, or what a
  // norm of x (the float32 sums of residuals) gives to an out in float16. A float32 weight stays
  // so.
  const Binding& out = operation.bindings[kernels.out];
  const bool is_half = !few && (x.type == kFloat16 || (normed && out.type == kFloat16)) &&
                       (quantised || operation.bindings[kernels.weight].type != kFloat32);
  const DataType elements = is_half ? kFloat16 : kFloat32;
  const Tiles tiles = tiles_of(p, quantised, elements, program.limits().tuning);
  unsigned unused = 0b1;
  if (normed && !taken_in) {
    x = add_norm(operation, p, kernels.norm_weight, elements, program);
    p.x_stride = p.inputs;
    unused |= 0b11u << kernels.norm_weight;
  }
  std::string kernel = few ? kernels.matvec : kernels.matmat;
  if (!few && !quantised) kernel += "_" + std::to_string(tiles.size);
  kernel.append("_").append(name_of(x.type));
  auto dispatch =
      make_dispatch<Params>(kernel_name(kernel, operation, {kernels.out, kernels.weight}),
                            operation, 1u << kernels.out, unused);
  dispatch.buffers.push_back({0, x, false});
  std::memcpy(dispatch.params.data(), &p, sizeof(p));
  dispatch.constants = {{"has_bias", p.has_bias},
                        {"activation", p.activation},
                        {"gated", p.gated},
                        {"has_residual", p.has_residual}};
  const auto set = [&dispatch](std::initializer_list<Constant> constants) {
    dispatch.constants.insert(dispatch.constants.end(), constants);
  };
  if (few) {
    const Limits& limits = program.limits();
    const uint64_t group = normed && taken_in ? p.norm_group_cols : p.inputs;
    const Binding& words = operation.bindings[1];  // the weight, if it is not quantised
    const bool aligned = p.inputs % 8 == 0 && group % 8 == 0 &&
                         is_aligned(x, uint64_t{p.x_stride} * size_of(x.type)) &&
                         is_aligned(words, words.bytes / p.outputs) &&
                         (!taken_in || operation.bindings[kernels.norm_weight].offset % 16 == 0);
    const uint32_t outputs = outputs_of_simdgroup(p.outputs, limits);
    set({{"normed", taken_in},
         {"by_squares", taken_in && p.norm_parts != 0},
         {"norm_groups", taken_in ? p.inputs / p.norm_group_cols : 1},
         {"vector_rows", p.rows},
         {"aligned_loads", aligned},
         {"vector_outputs", outputs}});
    const bool quantised = kernels.bits != 0;
    const uint32_t most =
        quantised ? limits.tuning.sharing_simdgroups : limits.tuning.vector_simdgroups;
    dispatch.threads = {threads_for(most * kSimdWidth, 1024, limits)};
    const uint32_t simdgroups = dispatch.threads.x / kSimdWidth;
    if (quantised) {
      const Staging staging =
          staging_of(p.rows, static_cast<uint32_t>(group), kernels.bits, limits);
      set({{"by_exponent", limits.tuning.slow_conversions},
           {"lane_words", staging.lane_words},
           {"staged_columns", staging.columns},
           {"reads", limits.tuning.vector_reads}});
      const auto bytes = [&](uint32_t floats) {
        return static_cast<uint32_t>(round_up(uint64_t{p.rows} * floats * sizeof(float), 16));
      };
      dispatch.threadgroup_memory = {
          {0, bytes(staging.columns)}, {1, bytes(staging.parts)}, {2, bytes(simdgroups)}};
      uint64_t total = 0;
      for (const auto& [index, size] : dispatch.threadgroup_memory) total += size;
      require(limits, kernels.operation, dispatch.threads.x, total);
    }
    uint32_t groups = ceil_divide(p.outputs, simdgroups * outputs);
    if (quantised) {
      groups = std::min(groups, std::max(1u, limits.tuning.most_simdgroups / simdgroups));
    }
    dispatch.threadgroups = {groups};
  } else {
    const uint32_t bytes =
        linear_tile_bytes(tiles.size, static_cast<uint32_t>(size_of(tiles.elements)));
    require(program.limits(), kernels.operation, kTileThreads, bytes);
    dispatch.threads = {kTileThreads};
    dispatch.threadgroups = {ceil_divide(p.outputs, tiles.size), ceil_divide(p.rows, tiles.size)};
    dispatch.threadgroup_memory = {{0, bytes}};
  }
  program.add(dispatch);
}

}  // namespace ssm::metal
