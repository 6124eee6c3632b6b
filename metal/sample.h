// Parameters of sample, written by the host, read by the kernel. What may change from token to
// token is not here but in small buffers that have a row for each slot, so that a recorded list can
// be run again.
#pragma once
#include "metal/operation.h"

struct SampleParams {
  uint32_t batch;
  uint32_t slots;
  uint32_t vocabulary;
  uint32_t stops;           // tokens that a slot can stop at
  uint32_t biases;          // places of a slot for biases
  uint32_t history_length;  // places of a slot for recent tokens
  uint32_t has_logits;      // whether logits are given; else each row draws from `kept`
};
SSM_OPERATION(SampleParams, reads(logits, optional), reads(rows), reads(settings), reads(selection),
              reads(stops), reads(biases), reads(mask), updates_slots(counts),
              updates_slots(history), reads(position), updates_slots(remaining),
              updates_slots(kept), updates_slots(out), writes(report));

// One row of the float32 buffer `settings`.
struct SampleSettings {
  float temperature;         // 0: take the largest score
  float top_p;               // 1: off
  float min_p;               // 0: off
  float repetition_penalty;  // 1: off
  float presence_penalty;    // 0: off
  float frequency_penalty;   // 0: off
};
static_assert(sizeof(SampleSettings) == 24, "one layout for host and kernel");

// One row of the uint32 buffer `selection`.
struct SampleSelection {
  uint32_t top_k;  // 0: off
  uint32_t seed_low;
  uint32_t seed_high;
  uint32_t recent;        // places of the history in use, which are the ring; 0: off
  uint32_t keeps_logits;  // 1: the logits are copied to `kept`
  uint32_t biases;        // biases in use; 0: off
  uint32_t masked;        // 1: the mask says which tokens may be drawn
  uint32_t alternatives;  // what token_logprobs reports: k + 1 for k alternatives; 0: nothing
};
static_assert(sizeof(SampleSelection) == 32, "one layout for host and kernel");

// One place of a row of the uint32 buffer `biases`.
struct SampleBias {
  uint32_t token;  // or kNoToken
  float bias;      // added to the token's score
};
static_assert(sizeof(SampleBias) == 8, "one layout for host and kernel");

// What became of a row.
enum SampleStatus {
  kDrawn = 0,
  kLogitIsNan = 1,
  kLogitIsInfinite = 2,  // the largest one, at a temperature above 0
  kSkipped = 3,          // the row has no slot
  kNoneAllowed = 4,      // a masked row whose scores are all -infinity
};

// An empty place among the recent tokens, the stops and the biases, and the token of a row that has
// none to name: no vocabulary is so large.
enum SampleToken : uint32_t {
  kNoToken = 0xffffffff,
};

// One row of the uint32 buffer `report`.
struct SampleReport {
  uint32_t token;   // the drawn one; of a row with NaN the first NaN; or kNoToken
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
