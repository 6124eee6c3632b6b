#include "execution.h"

#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "metal_stand_in.h"
#include "system.h"

namespace metal_stand_in {

namespace {

using software_metal::Traffic;
using ssm::metal::Dispatch;

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

// ---- the order of dispatches ----

// Memory that dispatches since the last barrier have touched.
struct Touched {
  const char* kernel;
  const std::byte *begin, *end;
  bool written;
};

void note(const Dispatch& dispatch, const Traffic& traffic, std::vector<Touched>& touched) {
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

// Where nobody counts bytes, an argument is touched from its beginning to its end.
void note(const Command& command, std::vector<Touched>& touched) {
  if (!command.is_exact) return;
  const Dispatch& dispatch = command.dispatch;
  for (const auto& [index, binding, written] : dispatch.buffers) {
    const std::byte* begin = binding.memory->data() + binding.offset;
    touched.push_back({dispatch.kernel.c_str(), begin, begin + binding.bytes, written});
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

// ---- the order of threads ----

using Bytes = std::vector<std::vector<std::byte>>;

Bytes written_bytes(const Dispatch& dispatch) {
  Bytes result;
  for (const auto& [index, binding, written] : dispatch.buffers) {
    if (!written) continue;
    const std::byte* begin = binding.memory->data() + binding.offset;
    result.emplace_back(begin, begin + binding.bytes);
  }
  return result;
}

void restore(const Dispatch& dispatch, const Bytes& bytes) {
  size_t next = 0;
  for (const auto& [index, binding, written] : dispatch.buffers) {
    if (!written) continue;
    std::memcpy(binding.memory->data() + binding.offset, bytes[next].data(), binding.bytes);
    ++next;
  }
}

// Runs a dispatch under every schedule from the same bytes, and compares what they write.
std::vector<Traffic> run_in_all_orders(const Dispatch& dispatch, const Options& options) {
  const auto& schedules = options.schedules;
  if (schedules.size() == 1) return software_metal::execute(dispatch, schedules[0]);
  const Bytes before = written_bytes(dispatch);
  const std::vector<Traffic> traffic = software_metal::execute(dispatch, schedules[0]);
  const Bytes first = written_bytes(dispatch);
  for (size_t i = 1; i < schedules.size(); ++i) {
    restore(dispatch, before);
    software_metal::execute(dispatch, schedules[i]);
    if (written_bytes(dispatch) == first) continue;
    throw std::runtime_error("kernel " + dispatch.kernel +
                             ": SCHEDULES DISAGREE: another order of threads gives other bits");
  }
  return traffic;
}

// In the rest of a page, which no guard protects.
void check_overruns(const Dispatch& dispatch) {
  for (const auto& [index, binding, written] : dispatch.buffers) {
    if (!written) continue;
    const std::string overrun = metal_stand_in::overrun(binding.memory->data() + binding.offset);
    if (overrun.empty()) continue;
    throw std::runtime_error("kernel " + dispatch.kernel + ": buffer(" + std::to_string(index) +
                             "): " + overrun);
  }
}

// ---- the trace ----

unsigned long long number(uint64_t value) { return value; }

// One line of JSON for each dispatch.
void write_trace(const Dispatch& dispatch, bool barrier, const std::vector<Traffic>& traffic,
                 std::FILE* trace) {
  const auto& [x, y, z] = dispatch.threadgroups;
  const auto& [i, j, k] = dispatch.threads;
  std::fprintf(trace,
               "{\"kernel\":\"%s\",\"threadgroups\":[%u,%u,%u],\"threads\":[%u,%u,%u],"
               "\"barrier\":%s,\"buffers\":[",
               dispatch.kernel.c_str(), x, y, z, i, j, k, barrier ? "true" : "false");
  const char* separator = "";
  for (const Traffic& buffer : traffic) {
    if (buffer.is_threadgroup) continue;
    std::fprintf(trace,
                 "%s{\"index\":%u,\"read\":%llu,\"distinctRead\":%llu,\"written\":%llu,"
                 "\"distinctWritten\":%llu}",
                 separator, buffer.index, number(buffer.read), number(buffer.distinct_read),
                 number(buffer.written), number(buffer.distinct_written));
    separator = ",";
  }
  std::fputs("],\"threadgroupMemory\":[", trace);
  separator = "";
  for (const Traffic& memory : traffic) {
    if (!memory.is_threadgroup) continue;
    std::fprintf(trace, "%s{\"index\":%u,\"read\":%llu,\"written\":%llu}", separator, memory.index,
                 number(memory.read), number(memory.written));
    separator = ",";
  }
  std::fputs("]}\n", trace);
}

}  // namespace

std::shared_ptr<const Options> options_of_environment() {
  const auto options = std::make_shared<Options>();
  const char* schedules = environment("SSM_SOFTWARE_METAL_SCHEDULES");
  std::istringstream texts(schedules == nullptr ? "forward" : schedules);
  for (std::string text; std::getline(texts, text, ',');) {
    options->schedules.push_back(software_metal::parse_schedule(text));
  }
  const char* kernels = environment("SSM_SOFTWARE_METAL_KERNELS");
  if (kernels != nullptr) software_metal::load_kernels(kernels);
  const char* trace = environment("SSM_SOFTWARE_METAL_TRACE");
  if (trace != nullptr) {
    options->trace.reset(std::fopen(trace, "a"));
    if (!options->trace) throw std::runtime_error(std::string("cannot write ") + trace);
  }
  return options;
}

std::string execute(const std::vector<Command>& commands, const Options& options) {
  std::vector<Touched> touched;
  bool barrier = false;
  for (const Command& command : commands) {
    if (command.kernel == nullptr) {
      touched.clear();
      barrier = true;
      controls().barriers += 1;
      continue;
    }
    try {
      const auto traffic = run_in_all_orders(command.dispatch, options);
      check_overruns(command.dispatch);
      std::vector<Touched> now;
      for (const Traffic& argument : traffic) note(command.dispatch, argument, now);
      if (traffic.empty()) note(command, now);
      check_order(touched, now);
      touched.insert(touched.end(), now.begin(), now.end());
      if (options.trace) write_trace(command.dispatch, barrier, traffic, options.trace.get());
    } catch (const std::exception& error) {
      return error.what();
    }
    barrier = false;
    controls().dispatches_done += 1;
  }
  if (options.trace) {
    std::fprintf(options.trace.get(), "{\"endOfRun\":true,\"allocations\":%llu}\n",
                 number(allocations()));
    std::fflush(options.trace.get());
  }
  return "";
}

}  // namespace metal_stand_in
