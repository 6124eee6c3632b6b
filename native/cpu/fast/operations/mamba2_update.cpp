// What native/cpu/operations/mamba2_update.cpp computes.
#include "native/cpu/mamba2.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void mamba2_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  update_mamba2(operation, threads, kernels);
}

}  // namespace ssm::cpu::fast
