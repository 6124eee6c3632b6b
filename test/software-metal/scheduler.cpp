// Fibers, and the order in which they take their turns.
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "machine.h"

#ifndef __x86_64__
#error "the rig switches between fibers with a few instructions of x86-64"
#endif

namespace software_metal {

using ssm::metal::Dispatch;

Thread* current_thread = nullptr;
Threadgroup current_threadgroup;

namespace {

constexpr size_t kStackBytes = 128 << 10;
// Threadgroup memory holds this when a threadgroup starts: NaN for float.
constexpr uint32_t kGarbage = 0x7fc0dead;

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

// What the threads of a threadgroup run on. Kept from one dispatch to the next, in one mapping with
// a guard before it: kernels touch it, and the checker must know it from the memory of a buffer.
struct Fibers {
  struct Shared {
    Simdgroup simdgroups[kMaxThreads / kLanes];
    Thread threads[kMaxThreads];
  };
  static constexpr size_t kPage = 4096;
  static constexpr size_t kSharedBytes = (sizeof(Shared) + kPage - 1) / kPage * kPage;
  static constexpr size_t kBytes = kSharedBytes + kMaxThreads * kStackBytes;

  Fibers() {
    void* memory = mmap(nullptr, kPage + kBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) {
      throw std::runtime_error("no memory for the stacks of fibers");
    }
    std::byte* begin = static_cast<std::byte*>(memory) + kPage;
    auto* shared = new (begin) Shared;
    simdgroups = shared->simdgroups;
    threads = shared->threads;
    stacks = begin + kSharedBytes;
  }

  Simdgroup* simdgroups;
  Thread* threads;
  std::byte* stacks;
  const void* fault_address = nullptr;
};

Fibers& fibers() {
  static Fibers& instance = *new Fibers;  // never destroyed: threads outlive main()
  return instance;
}

void* scheduler_stack_pointer = nullptr;

// The lanes of the running simdgroup whose turn comes next. Each switches to the next one itself,
// the last one to the scheduler: what a kernel waits for most takes one switch a lane that way, not
// two.
struct Turns {
  std::array<Thread*, kLanes> lanes;
  uint32_t count = 0, next = 0;
};
Turns turns;

void pause(ThreadState state) {
  Thread& thread = *current_thread;
  thread.state = state;
  if (turns.next == turns.count) {
    current_thread = nullptr;
    software_metal_switch(&thread.stack_pointer, scheduler_stack_pointer);
    return;
  }
  current_thread = turns.lanes[turns.next++];
  software_metal_switch(&thread.stack_pointer, current_thread->stack_pointer);
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
      reinterpret_cast<void**>(fibers().stacks + (thread.index + 1) * kStackBytes - stagger);
  *--top = nullptr;  // where fiber_main would return to
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
  thread.stack_pointer = top;
  thread.state = ThreadState::kReady;
}

// Runs the lanes in `turns` until each of them waits or is done, or one has faulted.
void take_turns() {
  if (turns.count == 0) return;
  turns.next = 1;
  current_thread = turns.lanes[0];
  software_metal_switch(&scheduler_stack_pointer, current_thread->stack_pointer);
}

// ---- faults: an access outside of all memory ends the fiber, not the process ----

void land_after_fault() {
  turns.next = turns.count;  // nobody else runs: the dispatch ends
  pause(ThreadState::kFaulted);
  std::abort();
}

struct sigaction previous_segv, previous_bus;

void on_fault(int signal, siginfo_t* info, void* context) {
  if (current_thread == nullptr) {  // not a kernel's fault: as if we were not here
    sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
    return;
  }
  fibers().fault_address = info->si_addr;
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
  const auto* address = static_cast<const std::byte*>(fibers().fault_address);
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

bool same_names(const Site& a, const Site& b) {
  return std::string_view(a.operation) == b.operation && std::string_view(a.file) == b.file;
}

inline bool same(const Site& a, const Site& b) {
  if (a.line != b.line) return false;
  return (a.operation == b.operation && a.file == b.file) || same_names(a, b);
}

class Order {
 public:
  explicit Order(const Schedule& schedule) : schedule_(schedule), random_(schedule.seed) {}

  bool is_random() const { return schedule_.order == Schedule::kRandom; }

  // 0 .. count-1 in the order of the schedule, a new one for each call when it is random.
  template <class Index>
  void fill(std::vector<Index>& indices, size_t count) {
    indices.resize(count);
    std::iota(indices.begin(), indices.end(), Index{0});
    if (schedule_.order == Schedule::kReverse) std::reverse(indices.begin(), indices.end());
    if (is_random()) shuffle(indices);
  }

 private:
  template <class Index>
  void shuffle(std::vector<Index>& indices) {
    for (size_t i = indices.size(); i > 1; --i) std::swap(indices[i - 1], indices[below(i)]);
  }

  // SplitMix64 (Steele, Lea and Flood, 2014), of which the upper half is scaled: there is a shuffle
  // for every operation of every simdgroup.
  size_t below(size_t count) {
    random_ += 0x9e3779b97f4a7c15u;
    uint64_t mixed = (random_ ^ random_ >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return ((mixed ^ mixed >> 31) >> 32) * count >> 32;
  }

  Schedule schedule_;
  uint64_t random_;
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
void run_simdgroup(Simdgroup& simdgroup, Thread* lanes, Order& order,
                   std::vector<uint8_t>& places) {
  order.fill(places, simdgroup.lanes);
  while (true) {
    turns.count = 0;
    for (const uint8_t i : places) {
      if (lanes[i].state == ThreadState::kReady) turns.lanes[turns.count++] = &lanes[i];
    }
    take_turns();
    uint32_t arrived = 0;
    for (uint32_t i = 0; i < simdgroup.lanes; ++i) {
      if (lanes[i].state == ThreadState::kAtSimdgroup) arrived |= 1u << i;
      if (lanes[i].state == ThreadState::kFaulted) {
        report(describe_fault() + " by " + describe(lanes[i]));
        throw Stopped();
      }
    }
    if (arrived == 0) return;
    check_arrivals(lanes, simdgroup.lanes, arrived);
    const Thread& first = lanes[__builtin_ctz(arrived)];
    simdgroup.arrived = arrived;
    simdgroup.turn += 1;
    simdgroup.epochs.pass(first.flags);
    for (uint32_t i = 0; i < simdgroup.lanes; ++i) lanes[i].state = ThreadState::kReady;
    if (order.is_random()) order.fill(places, simdgroup.lanes);
  }
}

// All simdgroups have run as far as they can. Opens the barrier at which every thread waits; false
// when every thread is done.
bool open_barrier(Thread* threads, uint32_t count) {
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
  Fibers& f = fibers();
  Threadgroup& group = current_threadgroup;
  group.position_in_grid[0] = number % group.threadgroups[0];
  group.position_in_grid[1] = number / group.threadgroups[0] % group.threadgroups[1];
  group.position_in_grid[2] = number / group.threadgroups[0] / group.threadgroups[1];
  group.epochs = {};
  const uint32_t count = group.threads[0] * group.threads[1] * group.threads[2];
  for (uint32_t i = 0; i < group.simdgroups; ++i) {
    Simdgroup& simdgroup = f.simdgroups[i];
    simdgroup.turn = 0;
    simdgroup.reduced_turn = 0;
    simdgroup.lanes = std::min(kLanes, count - i * kLanes);
    simdgroup.epochs = {};
  }
  for (uint32_t i = 0; i < count; ++i) {
    Thread& thread = f.threads[i];
    thread.simdgroup = &f.simdgroups[i / kLanes];
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
  for (const Region& region : machine().regions) {
    if (!region.is_threadgroup) continue;
    auto* memory = reinterpret_cast<uint32_t*>(const_cast<std::byte*>(region.begin));
    std::fill(memory, memory + region.bytes / sizeof(uint32_t), kGarbage);
  }
}

void run_in_turns(const Dispatch& dispatch, const Schedule& schedule) {
  Fibers& f = fibers();
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
        run_simdgroup(f.simdgroups[i], &f.threads[i * kLanes], order, lane_turns);
      }
    } while (open_barrier(f.threads, count));
    if (machine().problems.size() >= kMaxProblems) return;
  }
}

}  // namespace

MemoryRange fiber_memory() {
  const std::byte* end = fibers().stacks + kMaxThreads * kStackBytes;
  return {end - Fibers::kBytes, end};
}

void run_threadgroups(const Dispatch& dispatch, const Schedule& schedule) {
  catch_faults();
  try {
    run_in_turns(dispatch, schedule);
  } catch (const Stopped&) {
    // what happened is among the problems
  }
  release_faults();
}

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

}  // namespace software_metal
