// What native/cpu/operations/attention_decode.cpp computes.
#include "native/cpu/attention.h"
#include "native/cpu/operations.h"

namespace ssm::cpu::fast {

void attention_decode(const Operation& operation, ThreadPool& threads, const Kernels& kernels) {
  decode_attention(operation, threads, kernels.attend);
}

}  // namespace ssm::cpu::fast
