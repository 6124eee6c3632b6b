// What native/cpu/operations/ssd_update.cpp computes.
#include "native/cpu/operations.h"
#include "native/cpu/ssd.h"

namespace ssm::cpu::fast {

void ssd_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  update_ssd(operation, threads, kernels.ssd_step);
}

}  // namespace ssm::cpu::fast
