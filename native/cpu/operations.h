// One function an operation of the CPU device, in native/cpu/<operation>.cpp: plain loops in
// float32. What an operation computes is said in its file; shapes were checked by
// lib/operations.ts.
#pragma once

#include "operation.h"
#include "params.h"
#include "thread_pool.h"

namespace ssm::cpu {

#define SSM_DECLARE(name, Params, buffers, written) \
  void name(const Operation& operation, ThreadPool& threads);
SSM_OPERATIONS(SSM_DECLARE)
#undef SSM_DECLARE

}  // namespace ssm::cpu
