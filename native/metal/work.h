// How much work operations are, roughly: what decides where the commands of a run are cut.
#pragma once

#include <cstdint>

#include "native/operation.h"

namespace ssm::metal {

// What dispatch code says of an operation that carries the weight of a model: one with many
// multiplications and additions to a byte, or one on the tokens of a chunk.
struct Work {
  double arithmetic = 0;    // multiplications and additions
  uint64_t chunk_rows = 0;  // tokens that it works on at once, as those of a prompt; 0: a step
};

// Microseconds that an operation takes on a small GPU: a guess from its bytes and its arithmetic.
double microseconds_of(const Operation& operation, const Work& work);

// Whether an operation works on many tokens at once, as those of a prompt do. The others belong to
// a decode step.
bool is_of_a_chunk(const Work& work);

}  // namespace ssm::metal
