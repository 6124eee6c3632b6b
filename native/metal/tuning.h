// Performance-only parameters: any in-range value is correct; the fastest depends on the GPU.
// Kernels receive them as constants or as the size of a grid.
//
// None of the values for Apple's GPUs was measured on a Mac. slow_conversions follows published
// instruction timings of the M1 and M2; the others are guesses until `ssm-metal tune` has run on a
// Mac. The values for NVIDIA's GPUs were measured on an H200 (docs/gpu-notes.md), except
// large_tiles, which nobody has measured.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "metal/matmul_shape.h"
#include "metal/ssd_update.h"
#include "metal/tile_shape.h"
#include "native/tunable.h"

namespace ssm::metal {

// X(name, Apple, NVIDIA, least, most, candidates, meaning)
// A value from outside has to lie between least and most. `tune` measures the candidates, for one
// parameter after the other in this order, each with the fastest values of those before it; one
// candidate: nothing is measured, because the value is not for speed. The smallest candidates are
// for GPUs of 8 cores, which hold about 200 simdgroups.
// clang-format off
#define SSM_TUNABLES(X)                                                                            \
  X(vector_outputs, 4, 4, 1, kVectorOutputs, (1, 2, 4),                                            \
    "the most outputs that a simdgroup of a mat-vec kernel computes")                              \
  X(vector_simdgroups, 2, 2, 1, 32, (1, 2, 4, 8),                                                  \
    "simdgroups in a threadgroup of the mat-vec kernel for weights that are not quantised")        \
  X(sharing_simdgroups, 4, 4, 1, 32, (2, 4, 8, 16),                                                \
    "simdgroups in a threadgroup of the mat-vec kernel for quantised weights; they share x")       \
  X(most_simdgroups, 4096, 2640, 1, 1 << 20, (128, 256, 512, 1024, 2048, 2640, 4096, 1 << 20),     \
    "the most simdgroups that run the mat-vec kernel for quantised weights; each computes several "\
    "groups of outputs if there are more")                                                         \
  X(vector_reads, 4, 4, 1, kVectorReads, (2, 4, 8),                                                \
    "reads of four words that a lane of the mat-vec kernel for quantised weights starts together") \
  X(staged_columns, 2048, 6144, 1, 8192, (512, 1024, 2048, 4096, 6144),                            \
    "the most numbers of x that the mat-vec kernel for quantised weights keeps in threadgroup "    \
    "memory")                                                                                      \
  X(slow_conversions, 1, 1, 0, 1, (0, 1),                                                          \
    "1: the mat-vec kernel for quantised weights makes floats from integers by bit operations, "   \
    "for GPUs on which conversions take longer")                                                   \
  X(state_rows, 1, 2, 1, kStateRows, (1, 2, 4),                                                    \
    "rows of the state that a simdgroup of ssd_update takes, if they divide the head")             \
  X(state_simdgroups, 8, 8, 1, 32, (2, 4, 8, 16),                                                  \
    "the most simdgroups in a threadgroup of ssd_update")                                          \
  X(fill, 0, 1536, 0, 1 << 20, (0, 128, 256, 512, 1024, 1536, 2048, 4096, 8192),                   \
    "simdgroups that keep the GPU busy; a kernel that has fewer gives each of them less work")     \
  X(vector_rows, 8, 8, 1, kVectorRows, (2, 4, 8),                                                  \
    "the most rows of x that a threadgroup of a mat-vec kernel takes; with batch_invariant 0 a "   \
    "step of more rows runs the mat-mat kernel")                                                   \
  X(batch_invariant, 1, 1, 0, 1, (1),                                                              \
    "1: the bits of a row of a step do not depend on how many rows there are; 0: they may, and "   \
    "the order of sums is the fastest for that many rows")                                         \
  X(large_tiles, 128, 132, 1, 1 << 20, (1, 64, 128, 256, 1024, 1 << 20),                           \
    "tiles of 64 x 64 outputs that keep the GPU busy; the mat-mat kernels use tiles of 32 x 32 if " \
    "there are fewer")                                                                             \
  X(update_simdgroups, 32, 16, 1, 32, (8, 16, 32),                                                 \
    "the most simdgroups in a threadgroup of mamba2_update")                                       \
  X(update_rows, 2, 4, 1, kStateRows, (1, 2, 4),                                                   \
    "rows of the state that a simdgroup of mamba2_update takes at once; rounded down to a power "  \
    "of two that divides the head and leaves no simdgroup idle")                                   \
  X(attention_heads, 2, 1, 1, kDecodeHeads, (1, 2),                                                \
    "the most query heads that a threadgroup of attention over one token computes")                 \
  X(attention_simdgroups, 32, 32, 1, 32, (8, 16, 32),                                              \
    "the most simdgroups in a threadgroup of attention over one token")                             \
  X(attention_keys, 2, 2, 1, kDecodeKeys, (1, 2, 4, 8),                                            \
    "keys that a lane of attention over one token reads at once; rounded down to a power of two")   \
  X(attention_parts, 16, 32, 1, kMostParts, (4, 8, 16, 32),                                         \
    "the most parts that paged_attention_decode divides the keys of a row into")                   \
  X(chunk_size, 64, 64, 32, kLongestChunk, (32, 64),                                               \
    "the most tokens in a chunk of ssd_chunk_scan")                                                \
  X(piece_microseconds, 50'000, 50'000, 100, 10'000'000, (50'000),                                 \
    "the commands of a prompt go to the GPU in pieces of about this long on a small one, so that " \
    "what draws the screen gets its turn in between; a decode step is one piece")
// clang-format on

// A small GPU: about what the kernels reach on eight cores of the first generation.
constexpr double kSmallGpuBytesPerMicrosecond = 50'000;          // 50 GB/s
constexpr double kSmallGpuArithmeticPerMicrosecond = 1'000'000;  // 1 TFLOP/s

struct Tuning {
#define SSM_FIELD(name, apple, ...) uint32_t name = apple;
  SSM_TUNABLES(SSM_FIELD)
#undef SSM_FIELD
};

constexpr Tuning kAppleTuning = {};
constexpr Tuning kNvidiaTuning = {
#define SSM_VALUE(name, apple, nvidia, ...) .name = nvidia,
    SSM_TUNABLES(SSM_VALUE)
#undef SSM_VALUE
};

// One parameter and where its value is.
struct Parameter {
  Tunable tunable;
  uint32_t Tuning::*field;
};

inline const std::vector<Parameter>& parameters() {
  // Never destroyed: threads may outlive main().
  static const auto& table = *new std::vector<Parameter>{
#define SSM_LIST(...) {__VA_ARGS__}
#define SSM_LINE(tuned, apple, nvidia, from, to, list, text)                                  \
  {{.name = #tuned, .least = from, .most = to, .candidates = SSM_LIST list, .meaning = text}, \
   &Tuning::tuned},
      SSM_TUNABLES(SSM_LINE)
#undef SSM_LINE
#undef SSM_LIST
  };
  return table;
}

inline std::vector<Tunable> tunables() {
  std::vector<Tunable> result;
  for (const Parameter& parameter : parameters()) result.push_back(parameter.tunable);
  return result;
}

// All values, in the order of `tunables`.
inline TuningValues values_of(const Tuning& tuning) {
  TuningValues values;
  for (const auto& [tunable, field] : parameters()) {
    values.emplace_back(tunable.name, tuning.*field);
  }
  return values;
}

// `tuning` with other values, from outside. Throws std::invalid_argument for a name that does not
// exist or a value out of bounds.
inline Tuning tuned(Tuning tuning, const TuningValues& changes) {
  for (const auto& [name, value] : changes) {
    const Parameter* found = nullptr;
    for (const Parameter& parameter : parameters()) {
      if (parameter.tunable.name == name) found = &parameter;
    }
    if (found == nullptr) throw std::invalid_argument("[tuning] there is no " + name);
    const auto [least, most] = std::pair(found->tunable.least, found->tunable.most);
    if (value < least || value > most) {
      throw std::invalid_argument("[tuning] " + name + " must be a whole number from " +
                                  std::to_string(least) + " to " + std::to_string(most) +
                                  " but is " + std::to_string(value));
    }
    tuning.*found->field = static_cast<uint32_t>(value);
  }
  return tuning;
}

}  // namespace ssm::metal
