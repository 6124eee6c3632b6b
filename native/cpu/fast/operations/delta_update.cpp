// What native/cpu/operations/delta_update.cpp computes.
#include "native/cpu/delta.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void delta_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  update_delta(operation, threads, kernels);
}

}  // namespace ssm::cpu::fast
