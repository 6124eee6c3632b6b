// One function an operation of the CPU device, in native/cpu/operations/<operation>.cpp: plain
// loops in float32. What an operation computes is said in its file; shapes were checked by
// lib/operations/table.ts.
#pragma once

#include "native/cpu/thread_pool.h"
#include "native/operation.h"
#include "native/params.h"

namespace ssm::cpu {

#define SSM_DECLARE(name, Params, buffers, written) \
  void name(const Operation& operation, ThreadPool& threads);
SSM_OPERATIONS(SSM_DECLARE)
#undef SSM_DECLARE

// All of them, indexed by OperationKind.
inline constexpr void (*kFunctions[])(const Operation& operation, ThreadPool& threads) = {
#define SSM_FUNCTION(name, Params, buffers, written) name,
    SSM_OPERATIONS(SSM_FUNCTION)
#undef SSM_FUNCTION
};

}  // namespace ssm::cpu
