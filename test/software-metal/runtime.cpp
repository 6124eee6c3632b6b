#include "runtime.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>

#include "access_checker.h"
#include "kernel_context.h"
#include "machine.h"

namespace software_metal {

using ssm::metal::Dispatch;

namespace {

constexpr size_t kThreadgroupBytes = 32 << 10;
// Between two blocks of threadgroup memory, so that overrunning one does not reach the next.
constexpr size_t kThreadgroupGap = 256;
constexpr size_t kPage = 16 << 10;  // what ends at a page ends at a guard
constexpr size_t kThreadgroupPages = 3 * kPage;
static_assert(kThreadgroupPages >= kThreadgroupBytes + kMaxThreadgroupArguments * kThreadgroupGap);

}  // namespace

Machine& machine() {
  static Machine& instance = *[] {
    auto* machine = new Machine;  // never destroyed: threads outlive main()
    machine->threadgroup_memory = ssm::Memory::allocate(kThreadgroupPages);
    machine->params_page = ssm::Memory::allocate(kPage);
    return machine;
  }();
  return instance;
}

namespace {

// ---- a dispatch and its kernel ----

std::map<std::string, KernelInfo>& registry() {
  // Never destroyed: threads outlive main().
  static auto& kernels = *new std::map<std::string, KernelInfo>;
  return kernels;
}

[[noreturn]] void fail(const Dispatch& dispatch, const std::string& what) {
  throw std::runtime_error("kernel " + dispatch.kernel + ": " + what);
}

void set_constants(const Dispatch& dispatch, const KernelInfo& kernel) {
  for (uint32_t i = 0; i < kernel.constant_count; ++i) {
    const ConstantInfo& constant = kernel.constants[i];
    const auto given =
        std::find_if(dispatch.constants.begin(), dispatch.constants.end(),
                     [&](const auto& candidate) { return candidate.index == constant.index; });
    if (given == dispatch.constants.end()) {
      fail(dispatch, "function constant " + std::string(constant.name) + " (" +
                         std::to_string(constant.index) + ") is not set");
    }
    if (constant.bytes == 1 && given->value > 1) {
      fail(dispatch, "function constant " + std::string(constant.name) + " is bool, not " +
                         std::to_string(given->value));
    }
    std::memcpy(constant.address, &given->value, constant.bytes);  // little-endian
  }
}

bool is_absent(const Dispatch& dispatch, const ArgumentInfo& argument) {
  if (argument.only_if < 0) return false;
  for (const auto& constant : dispatch.constants) {
    if (static_cast<int>(constant.index) == argument.only_if) return constant.value == 0;
  }
  return true;
}

void bind_params(const Dispatch& dispatch, Arguments& arguments) {
  const auto& page = machine().params_page;
  if (dispatch.params.empty()) return;
  if (dispatch.params.size() > 4096) fail(dispatch, "more than 4 KiB of parameters");
  // Flush with the guard behind the page; parameters are fields of four bytes.
  std::byte* target = page->data() + page->size() - dispatch.params.size();
  std::memcpy(target, dispatch.params.data(), dispatch.params.size());
  arguments.buffers[dispatch.params_index] = target;
  machine().regions.push_back(
      {"the parameters", target, dispatch.params.size(), false, false, dispatch.params_index});
}

void bind_threadgroup_memory(const Dispatch& dispatch, Arguments& arguments) {
  uint32_t total = 0;
  // The last block ends at the guard.
  std::byte* end = machine().threadgroup_memory->data() + machine().threadgroup_memory->size();
  for (const auto& [index, bytes] : dispatch.threadgroup_memory) {
    total += bytes;
    if (index >= kMaxThreadgroupArguments || bytes == 0 || bytes % 16 != 0) {
      fail(dispatch, "threadgroup(" + std::to_string(index) + ") of " + std::to_string(bytes) +
                         " bytes: must not be 0 and be a multiple of 16");
    }
    if (total > kThreadgroupBytes) fail(dispatch, "more than 32 KiB of threadgroup memory");
    std::byte* begin = end - bytes;
    arguments.threadgroup_memory[index] = begin;
    machine().regions.push_back(
        {"threadgroup(" + std::to_string(index) + ")", begin, bytes, true, true, index});
    end = begin - kThreadgroupGap;
  }
}

// Fills in the arguments and holds the dispatch against the kernel's signature, in both directions.
void bind(const Dispatch& dispatch, const KernelInfo& kernel) {
  Machine& m = machine();
  m.arguments = {};
  m.regions.clear();
  for (const auto& [index, binding, written] : dispatch.buffers) {
    if (index >= kMaxBuffers) fail(dispatch, "has no buffer(" + std::to_string(index) + ")");
    if (m.arguments.buffers[index] != nullptr) {
      fail(dispatch, "buffer(" + std::to_string(index) + ") is bound twice");
    }
    std::byte* begin = binding.memory->data() + binding.offset;
    m.arguments.buffers[index] = begin;
    m.regions.push_back(
        {"buffer(" + std::to_string(index) + ")", begin, binding.bytes, false, written, index});
  }
  bind_params(dispatch, m.arguments);
  bind_threadgroup_memory(dispatch, m.arguments);

  std::set<std::pair<bool, uint32_t>> known;
  for (uint32_t i = 0; i < kernel.argument_count; ++i) {
    const ArgumentInfo& argument = kernel.arguments[i];
    const std::string name = std::string(argument.is_threadgroup ? "threadgroup(" : "buffer(") +
                             std::to_string(argument.index) + ") " + argument.name;
    known.insert({argument.is_threadgroup, argument.index});
    const void* bound = argument.is_threadgroup ? m.arguments.threadgroup_memory[argument.index]
                                                : m.arguments.buffers[argument.index];
    if (bound == nullptr && !is_absent(dispatch, argument)) fail(dispatch, name + " is not bound");
    for (Region& region : m.regions) {
      if (region.is_threadgroup != argument.is_threadgroup || region.index != argument.index) {
        continue;
      }
      region.name = name;
      if (!region.is_threadgroup && region.is_written != argument.is_written) {
        fail(dispatch, name + (argument.is_written ? " may be written but is bound as read"
                                                   : " is const but is bound as written"));
      }
    }
  }
  for (const Region& region : m.regions) {
    if (known.count({region.is_threadgroup, region.index}) == 0) {
      fail(dispatch, region.name + " is bound but the kernel has no such argument");
    }
  }
}

void check_size(const Dispatch& dispatch) {
  const auto volume = [](const ssm::metal::Size& size) {
    return uint64_t{size.x} * size.y * size.z;
  };
  if (volume(dispatch.threads) == 0 || volume(dispatch.threads) > kMaxThreads) {
    fail(dispatch,
         "threadgroups have 1 to 1024 threads, not " + std::to_string(volume(dispatch.threads)));
  }
  if (volume(dispatch.threadgroups) == 0 || volume(dispatch.threadgroups) > UINT32_MAX) {
    fail(dispatch, "runs no threadgroup, or too many");
  }
}

// Function constants and the machine are shared: one dispatch at a time.
std::mutex one_at_a_time;

// With the lock held.
const KernelInfo& prepare(const Dispatch& dispatch) {
  const KernelInfo& kernel = signature(dispatch.kernel);
  check_size(dispatch);
  set_constants(dispatch, kernel);
  bind(dispatch, kernel);
  return kernel;
}

}  // namespace
KernelRegistration::KernelRegistration(const KernelInfo& kernel) {
  registry()[kernel.name] = kernel;
}

// ---- reports ----

std::string describe(const Thread& thread) {
  const auto& position = current_threadgroup.position_in_grid;
  char text[128];
  std::snprintf(text, sizeof(text), "thread %u (simdgroup %u, lane %u) of threadgroup (%u, %u, %u)",
                thread.index, thread.index / kLanes, thread.lane, position[0], position[1],
                position[2]);
  return text;
}

bool is_new_problem(const std::string& key) { return machine().problem_keys.insert(key).second; }

void report(const std::string& message) {
  if (machine().problems.size() < kMaxProblems) machine().problems.push_back(message);
}

// ---- for the device ----

Schedule parse_schedule(const std::string& text) {
  if (text == "forward") return {Schedule::kForward, 0};
  if (text == "reverse") return {Schedule::kReverse, 0};
  char* end = nullptr;
  const unsigned long seed = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') {
    throw std::invalid_argument(
        "a schedule is forward, reverse or the seed of a random order, not " + text);
  }
  return {Schedule::kRandom, static_cast<uint32_t>(seed)};
}

const KernelInfo* find_kernel(const std::string& name) {
  const auto kernel = registry().find(name);
  return kernel == registry().end() ? nullptr : &kernel->second;
}

void load_kernels(const std::string& path) {
  // The module calls functions of this library, which Node has loaded for itself alone.
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&registry), &self) != 0) {
    dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
  }
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) throw std::runtime_error(dlerror());
}

bool is_checked_build() { return instrumented(); }

const KernelInfo& signature(const std::string& kernel) {
  const auto known = registry().find(kernel);
  if (known == registry().end()) {
    throw std::runtime_error("kernel " + kernel + ": no file of metal/ has a kernel of this name");
  }
  return known->second;
}

const KernelInfo& check_dispatch(const Dispatch& dispatch) {
  const std::lock_guard lock(one_at_a_time);
  return prepare(dispatch);
}

std::vector<Traffic> execute(const Dispatch& dispatch, const Schedule& schedule) {
  const std::lock_guard lock(one_at_a_time);
  Machine& m = machine();
  m.kernel = &prepare(dispatch);
  m.problem_keys.clear();
  m.problems.clear();
  begin_checking(m.regions);
  run_threadgroups(dispatch, schedule);
  std::vector<Traffic> traffic = end_checking();
  if (!m.problems.empty()) {
    std::string all;
    for (const std::string& problem : m.problems) all += (all.empty() ? "" : "\n  ") + problem;
    fail(dispatch, all);
  }
  return traffic;
}

}  // namespace software_metal

// Debian's libgcc lacks the conversion that clang calls for bfloat. Round to nearest, ties to even.
extern "C" SOFTWARE_METAL_EXPORT __bf16 __truncsfbf2(float x) {
  uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  bits = is_nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
  return __builtin_bit_cast(__bf16, static_cast<uint16_t>(bits >> 16));
}
