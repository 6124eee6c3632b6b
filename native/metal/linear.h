// What the dispatch code of matmul and quantized_matmul shares.
#pragma once

#include "metal/matmul_shape.h"
#include "metal/norm_rows.h"
#include "metal/tile_shape.h"
#include "native/metal/grid.h"
#include "native/metal/row_blocks.h"

namespace ssm::metal {

// The kernels of a matrix product, and the buffers of the operation that differ between products.
struct LinearKernels {
  std::string matvec, matmat;       // names without the types of x, out and the weight
  std::string_view weight;          // the buffer that has it
  std::string_view type_of_weight;  // the buffer whose type ends the names of kernels
  uint32_t norm_step;  // columns: the mat-vec kernel norms groups of a multiple of this itself
  bool is_quantised = false;
  bool aligns_weight = true;             // reads of the weight may be as wide as those of x
  LaneValues lane = {};                  // of a quantised weight
  std::vector<Constant> constants = {};  // of a quantised weight
};

// A dispatch that norms x into scratch memory, as numbers of this type; returns where it is.
template <class Params>
Binding add_norm(const Operation& operation, const Params& p, DataType type, Program& program) {
  const Binding normed = program.scratch(size_t{p.rows} * p.inputs * size_of(type), type);
  const NormRowsParams params = {.cols = p.inputs,
                                 .x_stride = p.x_stride,
                                 .group_cols = p.norm_group_cols,
                                 .parts = p.norm_parts,
                                 .eps = p.norm_eps};
  Dispatch dispatch;
  dispatch.kernel = kernel_name("norm_rows", operation, {"x"}) + "_" + name_of(type);
  dispatch.constants = {{"by_squares", p.norm_parts != 0}};
  dispatch.reads(0, operation.binding("x"));
  dispatch.reads(1, operation.binding("normWeight"));
  if (p.norm_parts != 0) dispatch.reads(2, operation.binding("squares"));
  dispatch.writes(3, normed);
  dispatch.params_index = 4;
  dispatch.params.resize(sizeof(params));
  std::memcpy(dispatch.params.data(), &params, sizeof(params));
  one_threadgroup_each(dispatch, p.inputs / p.norm_group_cols, p.rows,
                       ceil_divide(p.norm_group_cols, 4), 256, sizeof(float), program.limits());
  program.add(dispatch);
  return normed;
}

// What a mat-mat kernel works on (metal/linear_tile.h).
struct Tiles {
  uint32_t size;      // of outputs, in both directions
  DataType elements;  // type of the tiles' elements
};

// The larger tiles, where these are enough to fill the GPU.
template <class Params>
Tiles tiles_of(const Params& p, DataType elements, const Tuning& tuning) {
  const uint64_t large =
      uint64_t{ceil_divide(p.rows, kLargeTile)} * ceil_divide(p.outputs, kLargeTile);
  const bool takes_large = p.rows > kTile && p.outputs > kTile && large >= tuning.large_tiles;
  return {takes_large ? kLargeTile : kTile, elements};
}

// Whether a mat-vec kernel computes the product: of a step, unless it has more rows than these are
// good for and the order of its sums may be another one than that of few rows.
template <class Params>
bool is_for_matvec(const Params& p, const Tuning& tuning) {
  return p.step != 0 && (tuning.batch_invariant != 0 || p.rows <= tuning.vector_rows);
}

// A product on its way to a dispatch.
template <class Params>
struct Product {
  const Operation& operation;
  const LinearKernels& kernels;
  Params p;
  Binding x;               // as the kernel reads it
  bool is_normed = false;  // by a dispatch of its own: the kernel has nothing of the norm

  // With the constants and the buffers that all kernels have.
  Dispatch dispatch(std::string kernel) const {
    kernel.append("_").append(name_of(x.type));
    KernelBuffers own = {.written = {"out"}, .without = {"x"}};
    if (is_normed) own.without = {"x", "normWeight", "squares"};
    auto dispatch = make_dispatch<Params>(
        kernel_name(kernel, operation, {"out", kernels.type_of_weight}), operation, own);
    dispatch.reads(0, x);
    std::memcpy(dispatch.params.data(), &p, sizeof(p));
    dispatch.constants = {{"has_scale", p.has_scale},
                          {"has_bias", p.has_bias},
                          {"activation", p.activation},
                          {"gated", p.gated},
                          {"has_residual", p.has_residual}};
    for (const Constant& constant : kernels.constants) dispatch.constants.push_back(constant);
    return dispatch;
  }

  // Takes x normed, by a dispatch of its own, as numbers of this type.
  void norm(DataType type, Program& program) {
    x = add_norm(operation, p, type, program);
    p.x_stride = p.inputs;
    is_normed = true;
  }
};

// The mat-mat kernel, and before it a dispatch for the norm.
template <class Params>
void add_matmat(Product<Params> product, Program& program) {
  const Operation& operation = product.operation;
  const LinearKernels& kernels = product.kernels;
  const Limits& limits = program.limits();
  const bool normed = product.p.norm_group_cols != 0, quantised = kernels.is_quantised;
  // Numbers of float16 are multiplied where activations are: then x is, or what a norm of x (the
  // float32 sums of residuals) gives to an out in float16. A float32 weight stays so.
  const bool in_half =
      product.x.type == kFloat16 || (normed && operation.binding("out").type == kFloat16);
  const bool is_half =
      in_half && (quantised || operation.binding(kernels.type_of_weight).type != kFloat32);
  const Tiles tiles = tiles_of(product.p, is_half ? kFloat16 : kFloat32, limits.tuning);
  if (normed) product.norm(tiles.elements, program);
  Dispatch dispatch = product.dispatch(kernels.matmat + "_" + std::to_string(tiles.size));
  const uint32_t bytes =
      linear_tile_bytes(tiles.size, static_cast<uint32_t>(size_of(tiles.elements)));
  require(limits, operation, kTileThreads, bytes);
  dispatch.threads = {kTileThreads};
  dispatch.threadgroups = {ceil_divide(product.p.outputs, tiles.size),
                           ceil_divide(product.p.rows, tiles.size)};
  dispatch.threadgroup_memory = {{0, bytes}};
  program.add(dispatch);
}

inline void add_constants(Dispatch& dispatch, std::initializer_list<Constant> constants) {
  dispatch.constants.insert(dispatch.constants.end(), constants);
}

// Constants and threadgroup memory of quantized_matvec.
template <class Params>
void add_staging(const Product<Params>& product, const RowBlocks& blocks, uint32_t group,
                 const Limits& limits, Dispatch& dispatch) {
  const Staging staging = staging_of(blocks.rows, group, product.kernels.lane, limits);
  add_constants(dispatch, {{"by_exponent", limits.tuning.slow_conversions},
                           {"lane_values", staging.lane_values},
                           {"staged_columns", staging.columns},
                           {"reads", limits.tuning.vector_reads}});
  const auto bytes = [&](uint32_t floats) {
    return static_cast<uint32_t>(round_up(uint64_t{blocks.rows} * floats * sizeof(float), 16));
  };
  dispatch.threadgroup_memory = {{0, bytes(staging.columns)},
                                 {1, bytes(staging.parts)},
                                 {2, bytes(dispatch.threads.x / kSimdWidth)}};
  uint64_t total = 0;
  for (const auto& [index, size] : dispatch.threadgroup_memory) total += size;
  require(limits, product.operation, dispatch.threads.x, total);
}

// The mat-vec kernel, which takes in the norm where it can.
template <class Params>
void add_matvec(Product<Params> product, Program& program) {
  const Operation& operation = product.operation;
  const LinearKernels& kernels = product.kernels;
  const Limits& limits = program.limits();
  const bool normed = product.p.norm_group_cols != 0, quantised = kernels.is_quantised;
  const bool taken_in = normed && product.p.norm_group_cols % kernels.norm_step == 0;
  if (normed && !taken_in) product.norm(kFloat32, program);
  const Params& p = product.p;
  const Binding& x = product.x;
  const RowBlocks blocks = row_blocks_of(
      p.rows, quantised ? most_rows_of(kernels.lane, limits) : limits.tuning.vector_rows);
  const uint32_t group = taken_in ? p.norm_group_cols : p.inputs;
  const Binding& weight = operation.binding(kernels.weight);
  const bool aligned = p.inputs % 8 == 0 && group % 8 == 0 &&
                       is_aligned(x, uint64_t{p.x_stride} * size_of(x.type)) &&
                       (!kernels.aligns_weight || is_aligned(weight, weight.bytes / p.outputs)) &&
                       (!taken_in || operation.binding("normWeight").offset % 16 == 0);
  const uint32_t outputs = outputs_of_simdgroup(p.outputs, limits);
  Dispatch dispatch = product.dispatch(kernels.matvec);
  add_constants(dispatch, {{"normed", taken_in},
                           {"by_squares", taken_in && p.norm_parts != 0},
                           {"norm_groups", taken_in ? p.inputs / p.norm_group_cols : 1},
                           {"vector_rows", blocks.rows},
                           {"row_blocks", blocks.count},
                           {"aligned_loads", aligned},
                           {"vector_outputs", outputs}});
  const uint32_t most =
      quantised ? limits.tuning.sharing_simdgroups : limits.tuning.vector_simdgroups;
  dispatch.threads = {threads_for(most * kSimdWidth, 1024, limits)};
  const uint32_t simdgroups = dispatch.threads.x / kSimdWidth;
  uint32_t groups = ceil_divide(p.outputs, simdgroups * outputs);
  if (quantised) {
    add_staging(product, blocks, group, limits, dispatch);
    const uint64_t of_blocks = uint64_t{simdgroups} * blocks.count;
    const uint64_t at_once = std::max<uint64_t>(1, limits.tuning.most_simdgroups / of_blocks);
    groups = static_cast<uint32_t>(std::min<uint64_t>(groups, at_once));
  }
  dispatch.threadgroups = {groups * blocks.count};
  program.add(dispatch);
}

// The dispatches of a matrix product.
template <class Params>
void add_linear(const Operation& operation, Program& program, const LinearKernels& kernels) {
  const auto p = operation.params<Params>();
  const Product<Params> product = {
      .operation = operation, .kernels = kernels, .p = p, .x = operation.binding("x")};
  program.expect(
      {.arithmetic = 2.0 * p.rows * p.inputs * p.outputs, .chunk_rows = p.step != 0 ? 0 : p.rows});
  if (is_for_matvec(p, program.limits().tuning)) {
    add_matvec(product, program);
  } else {
    add_matmat(product, program);
  }
}

}  // namespace ssm::metal
