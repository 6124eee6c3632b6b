#include "metal/delta_chunk_scan.h"

#include "metal/tile_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

void delta_chunk_scan(const Operation& operation, Program& program) {
  const auto p = operation.params<DeltaChunkScanParams>();
  if (p.key_dim > kKeyTiles * kTile) {
    throw std::invalid_argument("[deltaChunkScan] the columns of a head's state must be at most " +
                                std::to_string(kKeyTiles * kTile) + " on this device but are " +
                                std::to_string(p.key_dim));
  }
  constexpr uint32_t kForgetBytes = 8 * 8 * 4;
  constexpr uint32_t kGateBytes = kDecayBytes + 3 * kTile * 4;
  require(program.limits(), operation, kTileThreads, 5 * kTileBytes + kForgetBytes);
  const uint64_t rows = uint64_t{p.batch} * p.length;
  const uint64_t of_state = 6 * uint64_t{p.key_dim} * p.value_dim;
  const uint64_t within_chunk = 2 * uint64_t{kLongestChunk} * (p.key_dim + p.value_dim);
  program.expect({.arithmetic = static_cast<double>(rows) * p.heads *
                                static_cast<double>(of_state + within_chunk),
                  .chunk_rows = rows});
  const uint32_t chunks = ceil_divide(p.length, kLongestChunk) * p.batch;
  const size_t parts = size_t{chunks} * p.heads;
  const Binding weights = program.scratch(parts * kChunkMatrices * sizeof(float));
  const Binding factors = program.scratch(parts * kChunkFactors * sizeof(float));

  auto weigh = make_dispatch<DeltaChunkScanParams>(
      kernel_name("delta_chunk_weights", operation, {"q"}), operation,
      {{.written = {}, .without = {"v", "state", "out"}}});
  weigh.writes(11, weights);
  weigh.writes(12, factors);
  weigh.threads = {kTileThreads};
  weigh.threadgroup_memory = {{0, kTileBytes}, {1, kTileBytes}, {2, kTileBytes}, {3, kGateBytes}};
  weigh.threadgroups = {4, p.heads, chunks};  // 2 x 2 tiles
  program.add(weigh);

  auto scan = make_dispatch<DeltaChunkScanParams>(
      kernel_name("delta_chunk_scan", operation, {"q"}), operation,
      {{.written = {"state", "out"}, .without = {"b", "a", "A", "dtBias"}}});
  scan.reads(11, weights);
  scan.reads(12, factors);
  scan.constants = {{"key_tiles", ceil_divide(p.key_dim, kTile)}};
  scan.threads = {kTileThreads};
  scan.threadgroup_memory = {
      {0, kTileBytes}, {1, kTileBytes}, {2, kTileBytes}, {3, 2 * kTileBytes}, {4, kForgetBytes}};
  scan.threadgroups = {ceil_divide(p.value_dim, kTile), p.heads, p.batch};
  program.add(scan);
}

}  // namespace ssm::metal
