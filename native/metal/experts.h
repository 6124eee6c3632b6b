// What the dispatch code of experts_matmul and quantized_experts_matmul shares.
#pragma once

#include "metal/group_experts.h"
#include "metal/tile_shape.h"
#include "native/metal/grid.h"

namespace ssm::metal {

// The kernels of a product with experts: names without the types of x, out and the weight.
struct ExpertsKernels {
  std::string matvec, matmat;
  std::string type_of_weight;  // the buffer whose type ends the names of kernels
  bool is_quantised = false;
  std::vector<Constant> constants = {};  // of a quantised weight
};

// The grid of metal/expert_tile.h.
template <class Params>
void add_tiles(const Operation& operation, const Params& p, const ExpertsKernels& kernels,
               Dispatch& dispatch, Program& program) {
  // Of a tile's elements, as in other products of a chunk (native/metal/linear.h).
  const bool is_half =
      operation.binding("x").type == kFloat16 &&
      (kernels.is_quantised || operation.binding(kernels.type_of_weight).type != kFloat32);
  const auto element_bytes = static_cast<uint32_t>(size_of(is_half ? kFloat16 : kFloat32));
  const uint32_t bytes = linear_tile_bytes(kTile, element_bytes);
  require(program.limits(), operation, kTileThreads, bytes);
  dispatch.threads = {kTileThreads};
  const size_t tiles = operation.binding("tiles").bytes / (kExpertTile * sizeof(uint32_t));
  dispatch.threadgroups = {ceil_divide(p.outputs, kTile), static_cast<uint32_t>(tiles)};
  dispatch.threadgroup_memory = {{0, bytes}};
}

// The dispatch of a product with experts.
template <class Params>
void add_experts(const Operation& operation, const ExpertsKernels& kernels, Program& program) {
  constexpr uint32_t kOutputs = 4;  // of a simdgroup (metal/experts.h)
  const auto p = operation.params<Params>();
  // A chunk, however few products an expert has: what a token gives does not depend on those beside
  // it.
  const bool in_tiles = operation.binding("tiles").memory != nullptr;
  KernelBuffers own = {.written = {"out"}, .without = {}};
  if (!in_tiles) own.without = {"tiles"};
  auto dispatch =
      make_dispatch<Params>(kernel_name(in_tiles ? kernels.matmat : kernels.matvec, operation,
                                        {"x", "out", kernels.type_of_weight}),
                            operation, own);
  dispatch.constants = kernels.constants;
  dispatch.constants.push_back({"activation", p.activation});
  dispatch.constants.push_back({"gated", p.gated});
  program.expect({.arithmetic = 2.0 * p.rows * p.inputs * p.outputs, .chunk_rows = 0});
  if (in_tiles) {
    add_tiles(operation, p, kernels, dispatch, program);
  } else {
    dispatch.threads = {threads_for(128, 1024, program.limits())};
    const uint32_t outputs = dispatch.threads.x / kSimdWidth * kOutputs;
    dispatch.threadgroups = {ceil_divide(p.outputs, outputs), p.rows};
  }
  program.add(dispatch);
}

}  // namespace ssm::metal
