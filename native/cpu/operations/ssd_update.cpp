// One token of the Mamba-2 recurrence (ssd.h) for each sequence b and head h, with
//   step = clamp(softplus(dt[b, h] + dt_bias[h]), dt_min, dt_max)
// and B and C of group h / (heads / groups).
#include "native/cpu/operations.h"
#include "native/cpu/ssd.h"

namespace ssm::cpu {

void ssd_update(const Operation& operation, ThreadPool& threads) {
  update_ssd(operation, threads, ssd_step);
}

}  // namespace ssm::cpu
