#include "metal/tile_shape.h"
#include "native/metal/dispatch.h"

namespace ssm::metal {

void ssd_chunk_scan(const Operation& operation, Program& program) {
  auto p = operation.params<SsdChunkScanParams>();
  require(program.limits(), "ssd_chunk_scan", kTileThreads, 2 * kTileBytes + kDecayBytes);
  // The result does not depend on it: what was asked for is an upper bound.
  p.chunk_size = std::min({p.chunk_size, p.length, program.limits().tuning.chunk_size});
  const uint32_t chunks = ceil_divide(p.length, p.chunk_size) * p.batch;
  const auto tiles = [](uint32_t count) { return ceil_divide(count, kTile); };

  const size_t scores_count = size_t{chunks} * p.groups * p.chunk_size * p.chunk_size;
  const size_t states_count = size_t{chunks} * p.heads * p.head_dim * p.d_state;
  const Binding scores = program.scratch(scores_count * sizeof(float));
  const Binding states = program.scratch(states_count * sizeof(float));
  const Binding decay = program.scratch(size_t{chunks} * p.heads * sizeof(float));

  const auto dispatch = [&](std::string kernel, unsigned written, unsigned unused) {
    auto result = make_dispatch<SsdChunkScanParams>(std::move(kernel), operation, written, unused);
    std::memcpy(result.params.data(), &p, sizeof(p));
    result.threads = {kTileThreads};
    result.threadgroup_memory = {{0, kTileBytes}, {1, kTileBytes}};
    return result;
  };

  auto score = dispatch(kernel_name("ssd_chunk_scores", operation, {0}), 0, 0b1011100111);
  score.buffers.push_back({11, scores, true});
  score.threadgroups = {tiles(p.chunk_size) * tiles(p.chunk_size), p.groups, chunks};
  program.add(score);

  auto collect = dispatch(kernel_name("ssd_chunk_states", operation, {0}), 0, 0b1010110000);
  collect.buffers.push_back({12, states, true});
  collect.buffers.push_back({13, decay, true});
  collect.threadgroup_memory.push_back({2, kDecayBytes});
  collect.threadgroups = {tiles(p.head_dim) * tiles(p.d_state), p.heads, chunks};
  program.add(collect);

  auto pass = dispatch("ssd_chunk_pass", 0b0010000000, 0b1001111111);
  pass.buffers.push_back({12, states, true});
  pass.buffers.push_back({13, decay, false});
  pass.threadgroup_memory.clear();
  pass.threads = {std::min(256u, program.limits().max_threads)};
  pass.threadgroups = {ceil_divide(p.heads * p.head_dim * p.d_state, pass.threads.x), p.batch};
  program.add(pass);

  auto output =
      dispatch(kernel_name("ssd_chunk_outputs", operation, {0}), 0b1000000000, 0b0010001000);
  output.buffers.push_back({11, scores, false});
  output.buffers.push_back({12, states, false});
  output.threadgroup_memory.push_back({2, kDecayBytes});
  output.threadgroups = {tiles(p.chunk_size) * tiles(p.head_dim), p.heads, chunks};
  program.add(output);
}

}  // namespace ssm::metal
