#include "execution.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "metal_stand_in.h"
#include "runtime.h"

namespace metal_stand_in {

namespace {

using ssm::metal::Dispatch;

// Memory that dispatches since the last barrier have touched.
struct Touched {
  const char* kernel;
  const std::byte *begin, *end;
  bool written;
};

void note(const Dispatch& dispatch, const software_metal::Traffic& traffic,
          std::vector<Touched>& touched) {
  if (traffic.is_threadgroup) return;
  for (const auto& argument : dispatch.buffers) {
    if (argument.index != traffic.index) continue;
    const std::byte* base = argument.binding.memory->data() + argument.binding.offset;
    for (const bool written : {false, true}) {
      const software_metal::Range range = written ? traffic.written_range : traffic.read_range;
      if (range.end == 0) continue;
      touched.push_back({dispatch.kernel.c_str(), base + range.begin, base + range.end, written});
    }
  }
}

// Nothing orders dispatches between two barriers.
void check_order(const std::vector<Touched>& earlier, const std::vector<Touched>& now) {
  for (const Touched& a : earlier) {
    for (const Touched& b : now) {
      if ((!a.written && !b.written) || a.begin >= b.end || b.begin >= a.end) continue;
      std::fprintf(stderr,
                   "Metal: %s and %s touch the same memory but there is no barrier between them\n",
                   a.kernel, b.kernel);
      std::abort();
    }
  }
}

}  // namespace

std::string execute(const std::vector<Command>& commands) {
  std::vector<Touched> touched;
  for (const Command& command : commands) {
    if (command.kernel == nullptr) {
      touched.clear();
      controls().barriers += 1;
      continue;
    }
    try {
      std::vector<Touched> now;
      for (const auto& traffic : software_metal::execute(command.dispatch, {})) {
        note(command.dispatch, traffic, now);
      }
      check_order(touched, now);
      touched.insert(touched.end(), now.begin(), now.end());
    } catch (const std::exception& error) {
      return error.what();
    }
    controls().dispatches_done += 1;
  }
  return "";
}

}  // namespace metal_stand_in
