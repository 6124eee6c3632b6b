// A small Objective-C runtime for Linux, for the tests of native/metal/metal_device.mm: clang's
// gnustep-2.0 ABI on x86-64, reference counting, autorelease pools, blocks. Objects have no
// instance variables: their state is a C++ object. Whatever is wrong ends the process with a
// message.
#pragma once

#include <cstddef>
#include <utility>

extern "C" {
id objc_retain(id object);
void objc_release(id object);
id objc_autorelease(id object);
void* _Block_copy(const void* block);
void _Block_release(const void* block);
}

namespace objc_runtime {

// Objects and copied blocks that exist.
size_t live_objects();

void*& state_of(id object);

// Called when the state of an object must go.
using Destroy = void (*)(void* state);
void set_state(id object, void* state, Destroy destroy);

template <class T>
T& state(id object) {
  return *static_cast<T*>(state_of(object));
}

// Gives a new object its state.
template <class T, class... Arguments>
id with_state(id object, Arguments&&... arguments) {
  set_state(object, new T(std::forward<Arguments>(arguments)...),
            [](void* old) { delete static_cast<T*>(old); });
  return object;
}

}  // namespace objc_runtime
