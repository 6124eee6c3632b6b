// What native/cpu/operations/conv1d_update.cpp computes.
#include "native/cpu/conv1d.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void conv1d_update(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  update_conv1d(operation, threads, kernels.conv1d_row);
}

}  // namespace ssm::cpu::fast
