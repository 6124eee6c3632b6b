#include "program.h"

namespace ssm::metal {

namespace {

bool overlap(const Binding& a, const Binding& b) {
  return a.memory == b.memory && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

// Whether the order of the two dispatches matters.
bool conflict(const Dispatch& a, const Dispatch& b) {
  for (const BufferArgument& x : a.buffers) {
    for (const BufferArgument& y : b.buffers) {
      if ((x.written || y.written) && overlap(x.binding, y.binding)) return true;
    }
  }
  return false;
}

}  // namespace

void Program::add(Dispatch dispatch) {
  dispatch.barrier = false;
  for (size_t i = last_barrier_; i < dispatches_.size() && !dispatch.barrier; ++i) {
    dispatch.barrier = conflict(dispatches_[i], dispatch);
  }
  if (dispatch.barrier) last_barrier_ = dispatches_.size();
  dispatches_.push_back(std::move(dispatch));
}

}  // namespace ssm::metal
