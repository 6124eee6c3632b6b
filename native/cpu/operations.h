// The two forms of an operation on the CPU device. Shapes were checked by lib/operations.
//
// Plain loops in float32, native/cpu/operations/<operation>.cpp: what every other form is held
// against, anywhere. What an operation computes is said in its file. Every operation has them.
//
// Fast, native/cpu/fast/operations/<operation>.cpp: the same contract on the kernels of a level. It
// may hand over to the plain loops for shapes that it has nothing for. An operation that has none
// runs as plain loops.
#pragma once

#include "native/cpu/fast/kernels.h"
#include "native/cpu/thread_pool.h"
#include "native/operation.h"

namespace ssm::cpu {

using PlainFunction = void (*)(const Operation&, ThreadPool&);
using FastFunction = void (*)(const Operation&, ThreadPool&, const Kernels&);

// scripts/operations.mjs writes both functions when the addon is built.
PlainFunction plain_function(OperationKind kind);
// Null: the plain loops are all there is.
FastFunction fast_function(OperationKind kind);

}  // namespace ssm::cpu
