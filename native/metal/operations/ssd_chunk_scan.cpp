#include "metal/ssd_chunk_scan.h"

#include "metal/tile_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

void ssd_chunk_scan(const Operation& operation, Program& program) {
  auto p = operation.params<SsdChunkScanParams>();
  require(program.limits(), operation, kTileThreads, 2 * kTileBytes + kDecayBytes);
  const uint64_t rows = uint64_t{p.batch} * p.length;
  const double of_state = 4.0 * p.head_dim * p.d_state;
  const double within_chunk = 2.0 * p.chunk_size * (p.head_dim + p.d_state);
  program.expect({.arithmetic = static_cast<double>(rows) * p.heads * (of_state + within_chunk),
                  .chunk_rows = rows});
  // The result does not depend on it: what was asked for is an upper bound.
  p.chunk_size = std::min({p.chunk_size, p.length, program.limits().tuning.chunk_size});
  const uint32_t chunks = ceil_divide(p.length, p.chunk_size) * p.batch;
  const auto tiles = [](uint32_t count) { return ceil_divide(count, kTile); };

  const size_t scores_count = size_t{chunks} * p.groups * p.chunk_size * p.chunk_size;
  const size_t states_count = size_t{chunks} * p.heads * p.head_dim * p.d_state;
  const Binding scores = program.scratch(scores_count * sizeof(float));
  const Binding states = program.scratch(states_count * sizeof(float));
  const Binding decay = program.scratch(size_t{chunks} * p.heads * sizeof(float));

  const auto dispatch = [&](std::string kernel, const KernelBuffers& own) {
    auto result = make_dispatch<SsdChunkScanParams>(std::move(kernel), operation, own);
    std::memcpy(result.params.data(), &p, sizeof(p));
    result.threads = {kTileThreads};
    result.threadgroup_memory = {{0, kTileBytes}, {1, kTileBytes}};
    return result;
  };

  auto score =
      dispatch(kernel_name("ssd_chunk_scores", operation, {"x"}),
               {.written = {}, .without = {"x", "dt", "A", "D", "dtBias", "state", "out"}});
  score.writes(11, scores);
  score.threadgroups = {tiles(p.chunk_size) * tiles(p.chunk_size), p.groups, chunks};
  program.add(score);

  auto collect = dispatch(kernel_name("ssd_chunk_states", operation, {"x"}),
                          {.written = {}, .without = {"C", "D", "state", "out"}});
  collect.writes(12, states);
  collect.writes(13, decay);
  collect.threadgroup_memory.push_back({2, kDecayBytes});
  collect.threadgroups = {tiles(p.head_dim) * tiles(p.d_state), p.heads, chunks};
  program.add(collect);

  auto pass =
      dispatch("ssd_chunk_pass",
               {.written = {"state"}, .without = {"x", "dt", "A", "B", "C", "D", "dtBias", "out"}});
  pass.writes(12, states);
  pass.reads(13, decay);
  pass.threadgroup_memory.clear();
  pass.threads = {std::min(256u, program.limits().max_threads)};
  pass.threadgroups = {ceil_divide(p.heads * p.head_dim * p.d_state, pass.threads.x), p.batch};
  program.add(pass);

  auto output = dispatch(kernel_name("ssd_chunk_outputs", operation, {"x"}),
                         {.written = {"out"}, .without = {"B", "state"}});
  output.reads(11, scores);
  output.reads(12, states);
  output.threadgroup_memory.push_back({2, kDecayBytes});
  output.threadgroups = {tiles(p.chunk_size) * tiles(p.head_dim), p.heads, chunks};
  program.add(output);
}

}  // namespace ssm::metal
