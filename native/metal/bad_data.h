// Bad data in the results of a run.
#pragma once

#include "native/command_list.h"

namespace ssm::metal {

// A kernel that finds bad data cannot throw: it leaves a mark in its results. Called when a run of
// the list has ended; throws std::domain_error with the message of the CPU device for the first
// mark.
void throw_on_bad_data(const CommandList& list);

}  // namespace ssm::metal
