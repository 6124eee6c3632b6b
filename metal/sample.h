// Parameters of sample, written by the host, read by the kernel. What may change from token to
// token is not here but in two small buffers, so that a recorded list can be run again.
#pragma once
#include "types.h"

struct SampleParams {
  uint32_t batch;
  uint32_t vocabulary;
  uint32_t history_length;  // slots of the ring of recent tokens
};
static_assert(sizeof(SampleParams) == 12, "one layout for host and kernel");

// One row of the float32 buffer `settings`.
struct SampleSettings {
  float temperature;         // 0: take the largest logit
  float top_p;               // 1: off
  float min_p;               // 0: off
  float repetition_penalty;  // 1: off
};
static_assert(sizeof(SampleSettings) == 16, "one layout for host and kernel");

// One row of the uint32 buffer `selection`.
struct SampleSelection {
  uint32_t top_k;  // 0: off
  uint32_t seed_low;
  uint32_t seed_high;
  uint32_t reserved;
};
static_assert(sizeof(SampleSelection) == 16, "one layout for host and kernel");

// What became of a row.
enum SampleStatus {
  kDrawn = 0,
  kLogitIsNan = 1,
  kLogitIsInfinite = 2,  // the largest one, at a temperature above 0
};

// One row of the uint32 buffer `report`.
struct SampleReport {
  uint32_t token;   // the drawn one; of a row with NaN the index of the first NaN
  uint32_t status;  // SampleStatus
};
static_assert(sizeof(SampleReport) == 8, "one layout for host and kernel");

// The histogram in which the kernel looks for a threshold. A digit's sum has several copies, for
// lanes that add to it at the same time, in banks of the memory that differ.
enum SampleHistogram : uint32_t {
  kDigitBits = 8,  // of a key: 32 bits take four passes
  kDigits = 1 << kDigitBits,
  kDigitCopies = 4,
  kCopyStride = kDigits + 1,
  kBinBytes = 2 * kDigitCopies * kCopyStride * 4,  // sums of 64 bits, in two words
  kSumBytes = 2 * kDigits * 4,                     // over the copies
};
