// How the scans of prompts go through sequences: a few chunks of all of them are prepared together,
// then worked on head by head.
#pragma once
#include <algorithm>
#include <cstddef>

#include "native/cpu/fast/scratch.h"

namespace ssm::cpu::fast {

// How much faster products of tiles are than the loops that thread_pool.h counts by: as in
// fast/mat_mat.h.
constexpr size_t kScanSpeedup = 8;

// A few chunks of all sequences. Those of a sequence are counted from the first of them.
struct Chunks {
  size_t first;  // token of a sequence that the first of them begins with
  size_t count;
};

// Calls work(shared, chunks) for one few after the other. `shared` is room for what they share:
// `size` floats for each chunk of each of `sequences`.
template <class Work>
void chunks_together(size_t length, size_t chunk, size_t sequences, size_t size, Work&& work) {
  constexpr size_t kSharedFloats = size_t{1} << 21;
  const size_t chunks = (length + chunk - 1) / chunk;
  const size_t together = std::clamp<size_t>(kSharedFloats / (sequences * size), 1, chunks);
  float* shared = scratch<Scratch::kShared>(sequences * together * size);
  for (size_t first = 0; first < chunks; first += together) {
    work(shared, Chunks{first * chunk, std::min(together, chunks - first)});
  }
}

}  // namespace ssm::cpu::fast
