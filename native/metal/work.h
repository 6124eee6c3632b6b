// How much work operations are, roughly: what decides where the commands of a run are cut.
#pragma once

#include "native/operation.h"

namespace ssm::metal {

// Microseconds that an operation takes on a small GPU: a guess from its bytes and its arithmetic.
double microseconds_of(const Operation& operation);

// Whether an operation works on many tokens at once, as those of a prompt do. The others belong to
// a decode step.
bool is_of_a_chunk(const Operation& operation);

}  // namespace ssm::metal
