#include "runtime.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>

#include "access_checker.h"
#include "kernel_context.h"

#ifndef __x86_64__
#error "the rig switches between fibers with a few instructions of x86-64"
#endif

namespace software_metal {

using ssm::metal::Dispatch;

Thread* current_thread = nullptr;
Threadgroup current_threadgroup;

namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kThreadgroupBytes = 32 << 10;
// Between two blocks of threadgroup memory, so that overrunning one does not reach the next.
constexpr size_t kThreadgroupGap = 256;
// Threadgroup memory holds this when a threadgroup starts: NaN for float.
constexpr uint32_t kGarbage = 0x7fc0dead;
constexpr size_t kMaxProblems = 8;  // reported for one dispatch

// ---- fibers ----

// Saves the callee-saved registers and the stack pointer, and continues on another stack.
asm(R"(
.text
.type software_metal_switch, @function
software_metal_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size software_metal_switch, .-software_metal_switch
)");
extern "C" __attribute__((visibility("hidden"))) void software_metal_switch(void** save, void* to);

// Everything that one dispatch needs. The rig keeps a single one: see execute().
struct Machine {
  Machine();

  std::vector<Thread> threads{kMaxThreads};
  std::vector<Simdgroup> simdgroups{kMaxThreads / kLanes};
  std::byte* stacks;
  std::shared_ptr<ssm::Memory> threadgroup_memory;
  std::shared_ptr<ssm::Memory> params_page;
  void* scheduler_stack_pointer = nullptr;

  const KernelInfo* kernel = nullptr;
  Arguments arguments{};
  std::vector<Region> regions;
  std::set<std::string> problem_keys;
  std::vector<std::string> problems;
  const void* fault_address = nullptr;
};

Machine::Machine() {
  void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stacks of fibers");
  stacks = static_cast<std::byte*>(memory);
  threadgroup_memory =
      ssm::Memory::allocate(kThreadgroupBytes + kMaxThreadgroupArguments * kThreadgroupGap);
  params_page = ssm::Memory::allocate(4096);
}

Machine& machine() {
  static Machine& instance = *new Machine;  // never destroyed: threads outlive main()
  return instance;
}

void pause(ThreadState state) {
  Thread& thread = *current_thread;
  thread.state = state;
  software_metal_switch(&thread.stack_pointer, machine().scheduler_stack_pointer);
}

void fiber_main() {
  machine().kernel->call(machine().arguments);
  pause(ThreadState::kDone);
  std::abort();  // nobody resumes a finished fiber
}

void start(Thread& thread) {
  // Tops of stacks are staggered: at equal distances all fibers would share a few cache sets.
  const size_t stagger = thread.index * 832 % 16384;
  auto* top =
      reinterpret_cast<void**>(machine().stacks + (thread.index + 1) * kStackBytes - stagger);
  *--top = nullptr;  // where fiber_main would return to
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
  thread.stack_pointer = top;
  thread.state = ThreadState::kReady;
}

void resume(Thread& thread) {
  current_thread = &thread;
  software_metal_switch(&machine().scheduler_stack_pointer, thread.stack_pointer);
  current_thread = nullptr;
}

// ---- faults: an access outside of all memory ends the fiber, not the process ----

void land_after_fault() {
  pause(ThreadState::kFaulted);
  std::abort();
}

struct sigaction previous_segv, previous_bus;

void on_fault(int signal, siginfo_t* info, void* context) {
  if (current_thread == nullptr) {  // not a kernel's fault: as if we were not here
    sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
    return;
  }
  machine().fault_address = info->si_addr;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  // As if the faulting instruction had called land_after_fault, below the red zone.
  registers[REG_RSP] = ((registers[REG_RSP] - 256) & ~greg_t{15}) - 8;
  registers[REG_RIP] = reinterpret_cast<greg_t>(land_after_fault);
}

void catch_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous_segv);
  sigaction(SIGBUS, &action, &previous_bus);
}

void release_faults() {
  sigaction(SIGSEGV, &previous_segv, nullptr);
  sigaction(SIGBUS, &previous_bus, nullptr);
}

std::string describe_fault() {
  const auto* address = static_cast<const std::byte*>(machine().fault_address);
  constexpr ptrdiff_t kNear = 32 << 20;
  for (const Region& region : machine().regions) {
    const ptrdiff_t offset = address - region.begin;
    if (offset >= -kNear && offset < static_cast<ptrdiff_t>(region.bytes) + kNear) {
      return "OUT OF BOUNDS: byte " + std::to_string(offset) + " of " + region.name + " (" +
             std::to_string(region.bytes) + " bytes)";
    }
  }
  return "BAD ADDRESS: far from every argument, or a vector that is not aligned";
}

// ---- scheduling of one threadgroup ----

std::string describe(const Site& site) {
  return std::string(site.operation) + " at " + site.file + ":" + std::to_string(site.line);
}

bool same(const Site& a, const Site& b) {
  if (a.line == b.line && a.operation == b.operation && a.file == b.file) return true;
  return a.line == b.line && std::string_view(a.operation) == b.operation &&
         std::string_view(a.file) == b.file;
}

class Order {
 public:
  explicit Order(const Schedule& schedule) : schedule_(schedule), random_(schedule.seed) {}

  // 0 .. count-1 in the order of the schedule, a new one for each call when it is random.
  template <class Index>
  void fill(std::vector<Index>& indices, size_t count) {
    indices.resize(count);
    std::iota(indices.begin(), indices.end(), Index{0});
    if (schedule_.order == Schedule::kReverse) std::reverse(indices.begin(), indices.end());
    if (schedule_.order == Schedule::kRandom) {
      std::shuffle(indices.begin(), indices.end(), random_);
    }
  }

 private:
  Schedule schedule_;
  std::mt19937 random_;
};

// Ends the dispatch: what a GPU would do next is undefined.
struct Stopped {};

void check_arrivals(const Thread* lanes, uint32_t count, uint32_t arrived) {
  const Thread& first = lanes[__builtin_ctz(arrived)];
  const uint32_t there = __builtin_popcount(arrived);
  if (there != count) {
    report("PARTIAL SIMDGROUP OPERATION: " + describe(first.site) + " is reached by " +
           std::to_string(there) + " of " + std::to_string(count) + " lanes, such as " +
           describe(first));
    throw Stopped();
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (same(lanes[i].site, first.site)) continue;
    report("DIVERGENT SIMDGROUP OPERATION: " + describe(first) + " is in " + describe(first.site) +
           " but " + describe(lanes[i]) + " is in " + describe(lanes[i].site));
    throw Stopped();
  }
}

// Runs a simdgroup until all its lanes are done or wait at a threadgroup barrier.
void run_simdgroup(Simdgroup& simdgroup, Thread* lanes, Order& order, std::vector<uint8_t>& turns) {
  while (true) {
    order.fill(turns, simdgroup.lanes);
    for (const uint8_t i : turns) {
      if (lanes[i].state != ThreadState::kReady) continue;
      resume(lanes[i]);
      if (lanes[i].state == ThreadState::kFaulted) {
        report(describe_fault() + " by " + describe(lanes[i]));
        throw Stopped();
      }
    }
    uint32_t arrived = 0;
    for (uint32_t i = 0; i < simdgroup.lanes; ++i) {
      if (lanes[i].state == ThreadState::kAtSimdgroup) arrived |= 1u << i;
    }
    if (arrived == 0) return;
    check_arrivals(lanes, simdgroup.lanes, arrived);
    const Thread& first = lanes[__builtin_ctz(arrived)];
    simdgroup.arrived = arrived;
    simdgroup.turn += 1;
    simdgroup.epochs.pass(first.flags);
    for (uint32_t i = 0; i < simdgroup.lanes; ++i) lanes[i].state = ThreadState::kReady;
  }
}

// All simdgroups have run as far as they can. Opens the barrier at which every thread waits; false
// when every thread is done.
bool open_barrier(std::vector<Thread>& threads, uint32_t count) {
  const Thread* waiting = nullptr;
  const Thread* done = nullptr;
  uint32_t arrived = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (threads[i].state == ThreadState::kDone) {
      done = &threads[i];
      continue;
    }
    arrived += 1;
    if (waiting == nullptr) waiting = &threads[i];
    if (!same(threads[i].site, waiting->site)) {
      report("DIVERGENT BARRIER: " + describe(*waiting) + " waits in " + describe(waiting->site) +
             " but " + describe(threads[i]) + " in " + describe(threads[i].site));
      throw Stopped();
    }
  }
  if (waiting == nullptr) return false;
  if (done != nullptr) {
    report("DIVERGENT BARRIER: " + std::to_string(arrived) + " of " + std::to_string(count) +
           " threads wait in " + describe(waiting->site) + ", the others have returned, such as " +
           describe(*done));
    throw Stopped();
  }
  current_threadgroup.epochs.pass(waiting->flags);
  for (uint32_t i = 0; i < count; ++i) threads[i].state = ThreadState::kReady;
  return true;
}

// Threads and simdgroups of threadgroup `number`, counted along x first.
void set_up_threadgroup(uint32_t number) {
  Machine& m = machine();
  Threadgroup& group = current_threadgroup;
  group.position_in_grid[0] = number % group.threadgroups[0];
  group.position_in_grid[1] = number / group.threadgroups[0] % group.threadgroups[1];
  group.position_in_grid[2] = number / group.threadgroups[0] / group.threadgroups[1];
  group.epochs = {};
  const uint32_t count = group.threads[0] * group.threads[1] * group.threads[2];
  for (uint32_t i = 0; i < group.simdgroups; ++i) {
    Simdgroup& simdgroup = m.simdgroups[i];
    simdgroup.turn = 0;
    simdgroup.reduced_turn = 0;
    simdgroup.lanes = std::min(kLanes, count - i * kLanes);
    simdgroup.epochs = {};
  }
  for (uint32_t i = 0; i < count; ++i) {
    Thread& thread = m.threads[i];
    thread.simdgroup = &m.simdgroups[i / kLanes];
    thread.index = i;
    thread.lane = i % kLanes;
    thread.position_in_threadgroup[0] = i % group.threads[0];
    thread.position_in_threadgroup[1] = i / group.threads[0] % group.threads[1];
    thread.position_in_threadgroup[2] = i / group.threads[0] / group.threads[1];
    for (int d = 0; d < 3; ++d) {
      thread.position_in_grid[d] =
          group.position_in_grid[d] * group.threads[d] + thread.position_in_threadgroup[d];
    }
    start(thread);
  }
  for (const Region& region : m.regions) {
    if (!region.is_threadgroup) continue;
    auto* memory = reinterpret_cast<uint32_t*>(const_cast<std::byte*>(region.begin));
    std::fill(memory, memory + region.bytes / sizeof(uint32_t), kGarbage);
  }
}

void run_threadgroups(const Dispatch& dispatch, const Schedule& schedule) {
  Machine& m = machine();
  Threadgroup& group = current_threadgroup;
  const ssm::metal::Size &threads = dispatch.threads, &threadgroups = dispatch.threadgroups;
  const uint32_t sizes[3] = {threads.x, threads.y, threads.z};
  const uint32_t counts[3] = {threadgroups.x, threadgroups.y, threadgroups.z};
  for (int d = 0; d < 3; ++d) {
    group.threads[d] = sizes[d];
    group.threadgroups[d] = counts[d];
    group.grid[d] = sizes[d] * counts[d];
  }
  const uint32_t count = threads.x * threads.y * threads.z;
  group.simdgroups = (count + kLanes - 1) / kLanes;

  Order order(schedule);
  std::vector<uint32_t> group_turns, simdgroup_turns;
  std::vector<uint8_t> lane_turns;
  order.fill(group_turns, size_t{threadgroups.x} * threadgroups.y * threadgroups.z);
  for (const uint32_t number : group_turns) {
    set_up_threadgroup(number);
    begin_threadgroup(number);
    do {
      order.fill(simdgroup_turns, group.simdgroups);
      for (const uint32_t i : simdgroup_turns) {
        run_simdgroup(m.simdgroups[i], &m.threads[i * kLanes], order, lane_turns);
      }
    } while (open_barrier(m.threads, count));
    if (m.problems.size() >= kMaxProblems) return;
  }
}

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
  if (dispatch.params.size() > page->size()) fail(dispatch, "more than 4 KiB of parameters");
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

// ---- what kernels call ----

void wait_for_simdgroup(Site site) {
  current_thread->site = site;
  current_thread->flags = 0;
  pause(ThreadState::kAtSimdgroup);
}

void wait_at_simdgroup_barrier(Site site, unsigned flags) {
  current_thread->site = site;
  current_thread->flags = flags;
  pause(ThreadState::kAtSimdgroup);
}

void wait_at_threadgroup_barrier(Site site, unsigned flags) {
  current_thread->site = site;
  current_thread->flags = flags;
  pause(ThreadState::kAtThreadgroup);
}

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
  catch_faults();
  try {
    run_threadgroups(dispatch, schedule);
  } catch (const Stopped&) {
    // what happened is among the problems
  }
  release_faults();
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
