// One token of the causal depthwise convolution with bias, SiLU and gates; the ring of inputs is
// updated in place. Formula and ring: conv1d.h.
#include "native/cpu/conv1d.h"
#include "native/cpu/operations.h"

namespace ssm::cpu {

void conv1d_update(const Operation& operation, ThreadPool& threads) {
  update_conv1d(operation, threads, conv1d_row);
}

}  // namespace ssm::cpu
