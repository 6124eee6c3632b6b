// Every number that any value of is right, and of which the fastest depends on the GPU: one line
// each. They reach kernels as function constants and as sizes of grids.
//
// Nothing here was measured on a Mac. The values for Apple's GPUs are a guess until
// `ssm-metal tune` has run on some; those for NVIDIA's are from an H200 (docs/gpu-notes.md).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "matmul_shape.h"
#include "ssd_update.h"
#include "tile_shape.h"

namespace ssm::metal {

// X(name, operations, Apple, NVIDIA, least, most, meaning, candidates...)
// operations: those whose dispatches read it, which is what `ssm-metal tune` measures it by.
// least, most: any whole number in between gives right results; what comes from outside is held
// against them. candidates: what is worth measuring.
#define SSM_TUNABLES(X)                                                                            \
  X(vector_rows, "matmul affine_matmul", 8, 8, 1, kVectorRows,                                     \
    "rows of x up to which the mat-vec kernels are taken; with more the mat-mat kernels", 2, 4, 8) \
  X(vector_outputs, "matmul affine_matmul", 4, 4, 1, kVectorOutputs,                               \
    "outputs of a simdgroup of the mat-vec kernels, at most", 1, 2, 4)                             \
  X(vector_simdgroups, "matmul", 2, 2, 1, 32, "simdgroups of a threadgroup of the mat-vec kernel", \
    1, 2, 4, 8)                                                                                    \
  X(sharing_simdgroups, "affine_matmul", 4, 4, 1, 32,                                              \
    "simdgroups of a threadgroup of the quantised mat-vec kernel, which share x", 2, 4, 8, 16)     \
  X(most_simdgroups, "affine_matmul", 4096, 2112, 1, 1 << 20,                                      \
    "simdgroups of a dispatch of the quantised mat-vec kernel, at most: with more work each "      \
    "takes several parts of it",                                                                   \
    1024, 2048, 4096, 1 << 20)                                                                     \
  X(vector_reads, "affine_matmul", 4, 4, 1, kVectorReads,                                          \
    "reads of four words that a lane of the quantised mat-vec kernel has under way", 2, 4, 8)      \
  X(staged_columns, "affine_matmul", 2048, 6144, 1, 8192,                                          \
    "numbers of x that a threadgroup of the quantised mat-vec kernel has in its memory, at most",  \
    1024, 2048, 4096, 6144)                                                                        \
  X(slow_conversions, "affine_matmul", 0, 1, 0, 1,                                                 \
    "1: integers become floats by bit operations, where conversions take longer", 0, 1)            \
  X(fill, "matmul affine_matmul ssd_update", 0, 2048, 0, 1 << 20,                                  \
    "simdgroups that keep the GPU busy: where there are fewer, each takes less of the work", 0,    \
    1024, 2048, 4096, 8192)                                                                        \
  X(state_rows, "ssd_update", 1, 2, 1, kStateRows,                                                 \
    "rows of the state that a simdgroup of ssd_update takes at once, where they divide the head "  \
    "and enough simdgroups remain",                                                                \
    1, 2, 4, 8)                                                                                    \
  X(state_simdgroups, "ssd_update", 8, 8, 1, 32,                                                   \
    "simdgroups of a threadgroup of ssd_update, at most", 2, 4, 8, 16)                             \
  X(update_simdgroups, "mamba2_update", 32, 16, 1, 32,                                             \
    "simdgroups of a threadgroup of mamba2_update, at most", 8, 16, 32)                            \
  X(update_rows, "mamba2_update", 2, 4, 1, kStateRows,                                             \
    "rows of the state that a simdgroup of mamba2_update takes at once, as a power of two that "   \
    "divides the head and leaves no simdgroup idle",                                               \
    1, 2, 4)                                                                                       \
  X(attention_heads, "attention_decode", kDecodeHeads, 1, 1, kDecodeHeads,                         \
    "query heads of a threadgroup of attention_decode, at most", 1, 2)                             \
  X(attention_simdgroups, "attention_decode", 32, 16, 1, 32,                                       \
    "simdgroups of a threadgroup of attention_decode, at most", 8, 16, 32)                         \
  X(attention_keys, "attention_decode", 2, 8, 1, kDecodeKeys,                                      \
    "keys that a lane of attention_decode reads at once, as the power of two below", 1, 2, 4, 8)   \
  X(chunk_size, "ssd_chunk_scan", kLongestChunk, kLongestChunk, 32, kLongestChunk,                 \
    "tokens of a chunk of ssd_chunk_scan, at most", 32, 64)

struct Tuning {
#define SSM_FIELD(name, operations, apple, nvidia, least, most, meaning, ...) uint32_t name = apple;
  SSM_TUNABLES(SSM_FIELD)
#undef SSM_FIELD
};

constexpr Tuning kAppleTuning = {};
constexpr Tuning kNvidiaTuning = {
#define SSM_VALUE(name, operations, apple, nvidia, least, most, meaning, ...) nvidia,
    SSM_TUNABLES(SSM_VALUE)
#undef SSM_VALUE
};

// A line of the table.
struct Tunable {
  const char* name;
  uint32_t Tuning::*field;
  const char* operations;  // names with a space between them
  uint32_t least, most;
  const char* meaning;
  std::vector<uint32_t> candidates;
};

inline const std::vector<Tunable>& tunables() {
  // Never destroyed: threads may outlive main().
  static const auto& table = *new std::vector<Tunable>{
#define SSM_LINE(name, operations, apple, nvidia, least, most, meaning, ...) \
  {#name, &Tuning::name, operations, least, most, meaning, {__VA_ARGS__}},
      SSM_TUNABLES(SSM_LINE)
#undef SSM_LINE
  };
  return table;
}

// Names and values from outside.
using TuningChanges = std::vector<std::pair<std::string, int64_t>>;

// `tuning` with the changes. Throws std::invalid_argument for a name that does not exist or a value
// out of bounds.
inline Tuning tuned(Tuning tuning, const TuningChanges& changes) {
  for (const auto& [name, value] : changes) {
    const Tunable* found = nullptr;
    for (const Tunable& tunable : tunables()) {
      if (tunable.name == name) found = &tunable;
    }
    if (found == nullptr) throw std::invalid_argument("[tuning] there is no " + name);
    if (value < found->least || value > found->most) {
      throw std::invalid_argument("[tuning] " + name + " must be a whole number from " +
                                  std::to_string(found->least) + " to " +
                                  std::to_string(found->most) + " but is " + std::to_string(value));
    }
    tuning.*found->field = static_cast<uint32_t>(value);
  }
  return tuning;
}

}  // namespace ssm::metal
