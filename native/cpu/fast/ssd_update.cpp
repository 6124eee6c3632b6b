// What native/cpu/ssd_update.cpp computes.
#include "cpu/fast/operations.h"
#include "cpu/ssd.h"

namespace ssm::cpu::fast {

void ssd_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  update_ssd(operation, threads, kernels.ssd_step);
}

}  // namespace ssm::cpu::fast
