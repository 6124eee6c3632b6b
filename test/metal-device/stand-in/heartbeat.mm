// native/metal/apple/residency.mm at a pace that a test can wait for. Prints the commits and
// requests after each step, as the stand-in counts them.
#include "native/metal/apple/residency.h"

#include <sys/mman.h>

#include <cstdio>
#include <thread>
#include <vector>

#include "metal_stand_in.h"
#include "system.h"

using namespace std::chrono_literals;
using metal_stand_in::controls;
using metal_stand_in::kPage;
using ssm::apple::Residency;

namespace {

id<MTLBuffer> make_buffer(id<MTLDevice> device) {
  void *page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return [device newBufferWithBytesNoCopy:page
                                   length:kPage
                                  options:MTLResourceStorageModeShared
                              deallocator:^(void *begin, NSUInteger length) {
                                munmap(begin, length);
                              }];
}

void print(const char *step) {
  std::printf("%s: %lu commits, %lu requests\n", step, controls().residency_commits.load(),
              controls().residency_requests.load());
}

// Waits until `number` is `least` or more, at most 10 s.
bool reaches(const std::atomic<uint64_t> &number, uint64_t least) {
  for (int i = 0; i < 10000 && number < least; ++i) std::this_thread::sleep_for(1ms);
  return number >= least;
}

// Waits until it has grown by `by`.
bool grows(const std::atomic<uint64_t> &number, uint64_t by) {
  return reaches(number, number + by);
}

}  // namespace

int main() {
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  {
    // No beat comes before it is waited for: an hour is longer than this program.
    Residency residency(device, {1h, 1h});
    std::vector<id<MTLBuffer>> buffers;
    for (int i = 0; i < 100; ++i) {
      buffers.push_back(make_buffer(device));
      residency.add(buffers.back());
    }
    print("100 buffers");
    residency.before_run();
    print("a run");
    for (int i = 0; i < 100; ++i) residency.before_run();
    print("100 runs");
    residency.add(make_buffer(device));
    residency.add(make_buffer(device));
    residency.before_run();
    print("two more buffers");
  }
  print("the end");  // which does not wait for the beat
  {
    Residency residency(device, {5ms, 200ms});
    id<MTLBuffer> buffer = make_buffer(device);
    residency.add(buffer);
    std::this_thread::sleep_for(50ms);
    print("without a run");
    residency.before_run();
    std::printf("it beats: %d\n", grows(controls().residency_requests, 5));
    std::this_thread::sleep_for(1s);
    uint64_t requests = controls().residency_requests;
    std::this_thread::sleep_for(100ms);
    std::printf("it has ended: %d\n", controls().residency_requests == requests);
    // Idle, it still lets go of what is removed, with all that comes within a beat.
    uint64_t commits = controls().residency_commits;
    residency.remove(buffer);
    std::printf("it lets go: %d\n", grows(controls().residency_commits, 1));
    std::printf("commits: %lu\n", controls().residency_commits - commits);
    std::printf("without a request: %d\n", controls().residency_requests == requests);
    // The next run starts it again.
    requests = controls().residency_requests;
    residency.before_run();
    std::printf("a run after a pause requests: %d\n",
                controls().residency_requests == requests + 1);
    std::printf("it beats again: %d\n", grows(controls().residency_requests, 5));
  }
  {
    // A beat commits a buffer when a run comes that needs it: the run must not go on before that.
    Residency residency(device, {5ms, 1h});
    residency.before_run();
    const uint64_t commits = controls().residency_commits;
    controls().hold_commit = 1;
    residency.add(make_buffer(device));
    std::printf("a beat commits: %d\n", reaches(controls().hold_commit, 2));
    std::thread release([] {
      std::this_thread::sleep_for(50ms);
      controls().hold_commit = 0;
    });
    residency.before_run();
    std::printf("a run waits for that: %d\n", controls().residency_commits == commits + 1);
    release.join();
  }
  return 0;
}
