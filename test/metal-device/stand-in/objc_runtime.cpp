// See objc_runtime.h. The structures are those that clang writes for -fobjc-runtime=gnustep-2.0.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#ifndef __x86_64__
#error "messages are sent with a few instructions of x86-64"
#endif

namespace {

struct Selector {
  const char* name;
  const char* types;
};

struct Method {
  void* function;
  Selector* selector;
  const char* types;
};

struct MethodList {
  MethodList* next;
  int count;
  size_t method_size;
  Method methods[];
};

struct Class {
  Class* isa;  // the metaclass, which has the class methods
  Class* super;
  const char* name;
  long version;
  unsigned long info;
  long instance_size;
  void* instance_variables;
  MethodList* methods;
};

// What a compiled file hands to __objc_load.
struct Module {
  uint64_t version;
  Selector *selectors, *selectors_end;
  Class **classes, **classes_end;
};

struct Object {
  Class* isa;
  std::atomic<long> references;
  void* state;
  void (*destroy)(void*);
};

// https://clang.llvm.org/docs/Block-ABI-Apple.html
struct BlockDescriptor {
  unsigned long reserved;
  unsigned long size;
  void (*copy)(void* target, const void* source);  // when kHasCopyDispose
  void (*dispose)(const void*);
};

struct Block {
  void* isa;
  int flags;
  std::atomic<int> references;  // "reserved"
  void (*invoke)(void*, ...);
  BlockDescriptor* descriptor;
};
constexpr int kNeedsFree = 1 << 24, kHasCopyDispose = 1 << 25, kIsGlobal = 1 << 28;
constexpr int kFieldIsObject = 3, kFieldIsBlock = 7;

std::atomic<size_t> live{0};

[[noreturn]] void die(const char* what, const char* name, const char* selector = "") {
  std::fprintf(stderr, "Objective-C: %s %s %s\n", what, name, selector);
  std::abort();
}

Method* find(Class* from, const char* selector) {
  for (Class* c = from; c != nullptr; c = c->super == c ? nullptr : c->super) {
    for (MethodList* list = c->methods; list != nullptr; list = list->next) {
      for (int i = 0; i < list->count; ++i) {
        if (std::strcmp(list->methods[i].selector->name, selector) == 0) return &list->methods[i];
      }
    }
  }
  return nullptr;
}

std::vector<Object*>& pool() {
  thread_local std::vector<Object*> objects;
  return objects;
}

}  // namespace

extern "C" {

void* _NSConcreteStackBlock[32];
void* _NSConcreteMallocBlock[32];
void* _NSConcreteGlobalBlock[32];

// ---- classes and messages ----

void __objc_load(Module* module) {
  for (Class** c = module->classes; c < module->classes_end; ++c) {
    if (*c == nullptr) continue;
    // Class methods are inherited too; the root's metaclass inherits the root's methods.
    (*c)->isa->super = (*c)->super != nullptr ? (*c)->super->isa : *c;
  }
}

void* objc_runtime_lookup(Object* object, Selector* selector) {
  static std::mutex& mutex = *new std::mutex;  // never destroyed: threads outlive main()
  static auto& known = *new std::map<std::pair<Class*, Selector*>, void*>;
  const std::lock_guard lock(mutex);
  void*& function = known[{object->isa, selector}];
  if (function == nullptr) {
    Method* method = find(object->isa, selector->name);
    if (method == nullptr) die("unrecognised selector", object->isa->name, selector->name);
    function = method->function;
  }
  return function;
}

void* objc_msg_lookup_super(void** object_and_super, Selector* selector) {
  Method* method = find(static_cast<Class*>(object_and_super[1]), selector->name);
  if (method == nullptr) die("unrecognised selector of super", selector->name);
  return method->function;
}

// Saves every register that can hold an argument, finds the method and jumps there. objc_msgSend
// has receiver and selector as its first two arguments; where the result is returned in memory,
// that address comes before them (objc_msgSend_stret). A message to nil gives 0.
#define SEND(name, receiver, selector)                                                     \
  asm(".text\n.globl " #name "\n.type " #name ", @function\n" #name                        \
      ":\n"                                                                                \
      "  testq " receiver ", " receiver                                                    \
      "\n  jz 1f\n"                                                                        \
      "  pushq %rbp\n  movq %rsp, %rbp\n  subq $192, %rsp\n"                               \
      "  movq %rdi, -8(%rbp)\n  movq %rsi, -16(%rbp)\n  movq %rdx, -24(%rbp)\n"            \
      "  movq %rcx, -32(%rbp)\n  movq %r8, -40(%rbp)\n  movq %r9, -48(%rbp)\n"             \
      "  movq %rax, -56(%rbp)\n"                                                           \
      "  movups %xmm0, -80(%rbp)\n  movups %xmm1, -96(%rbp)\n  movups %xmm2, -112(%rbp)\n" \
      "  movups %xmm3, -128(%rbp)\n"                                                       \
      "  movq " selector ", %r10\n  movq " receiver                                        \
      ", %rdi\n  movq %r10, %rsi\n"                                                        \
      "  call objc_runtime_lookup@PLT\n  movq %rax, %r11\n"                                \
      "  movq -8(%rbp), %rdi\n  movq -16(%rbp), %rsi\n  movq -24(%rbp), %rdx\n"            \
      "  movq -32(%rbp), %rcx\n  movq -40(%rbp), %r8\n  movq -48(%rbp), %r9\n"             \
      "  movq -56(%rbp), %rax\n"                                                           \
      "  movups -80(%rbp), %xmm0\n  movups -96(%rbp), %xmm1\n  movups -112(%rbp), %xmm2\n" \
      "  movups -128(%rbp), %xmm3\n"                                                       \
      "  leave\n  jmpq *%r11\n"                                                            \
      "1:\n  xorl %eax, %eax\n  xorl %edx, %edx\n  pxor %xmm0, %xmm0\n  ret\n"             \
      ".size " #name ", .-" #name "\n")
SEND(objc_msgSend, "%rdi", "%rsi");
SEND(objc_msgSend_stret, "%rsi", "%rdx");

// C++ exceptions pass through Objective-C code as through C++.
asm(".text\n.globl __gnustep_objcxx_personality_v0\n"
    "__gnustep_objcxx_personality_v0: jmp __gxx_personality_v0@PLT\n");

// ---- blocks ----

void* _Block_copy(const void* given) {
  auto* block = static_cast<Block*>(const_cast<void*>(given));
  if (block == nullptr || (block->flags & kIsGlobal) != 0) return block;
  if ((block->flags & kNeedsFree) != 0) {
    block->references += 1;
    return block;
  }
  auto* copy = static_cast<Block*>(std::malloc(block->descriptor->size));
  std::memcpy(static_cast<void*>(copy), block, block->descriptor->size);
  copy->isa = _NSConcreteMallocBlock;
  copy->flags |= kNeedsFree;
  copy->references = 1;
  if ((block->flags & kHasCopyDispose) != 0) block->descriptor->copy(copy, block);
  live += 1;
  return copy;
}

void _Block_release(const void* given) {
  auto* block = static_cast<Block*>(const_cast<void*>(given));
  if (block == nullptr || (block->flags & kNeedsFree) == 0) return;
  if (--block->references > 0) return;
  if ((block->flags & kHasCopyDispose) != 0) block->descriptor->dispose(block);
  live -= 1;
  std::free(block);
}

// ---- reference counts ----

static bool is_block(Object* object) {
  void* isa = object->isa;
  return isa == _NSConcreteStackBlock || isa == _NSConcreteMallocBlock ||
         isa == _NSConcreteGlobalBlock;
}

Object* objc_retain(Object* object) {
  if (object == nullptr) return nullptr;
  if (is_block(object)) return static_cast<Object*>(_Block_copy(object));
  if (object->references.fetch_add(1) <= 0) die("retain of a dead", object->isa->name);
  return object;
}

void objc_release(Object* object) {
  if (object == nullptr) return;
  if (is_block(object)) return _Block_release(object);
  const long left = object->references.fetch_sub(1) - 1;
  if (left < 0) die("release of a dead", object->isa->name);
  if (left > 0) return;
  static Selector dealloc{"dealloc", ""};
  reinterpret_cast<void (*)(Object*, Selector*)>(objc_runtime_lookup(object, &dealloc))(object,
                                                                                        &dealloc);
}

Object* objc_autorelease(Object* object) {
  if (object != nullptr) pool().push_back(object);
  return object;
}

void* objc_autoreleasePoolPush() { return reinterpret_cast<void*>(pool().size() + 1); }

void objc_autoreleasePoolPop(void* mark) {
  const size_t size = reinterpret_cast<size_t>(mark) - 1;
  while (pool().size() > size) {
    Object* object = pool().back();
    pool().pop_back();
    objc_release(object);
  }
}

Object* objc_retainAutorelease(Object* object) { return objc_autorelease(objc_retain(object)); }
Object* objc_autoreleaseReturnValue(Object* object) { return objc_autorelease(object); }
Object* objc_retainAutoreleaseReturnValue(Object* object) { return objc_retainAutorelease(object); }
Object* objc_retainAutoreleasedReturnValue(Object* object) { return objc_retain(object); }
Object* objc_unsafeClaimAutoreleasedReturnValue(Object* object) { return object; }
Object* objc_retainBlock(Object* block) { return static_cast<Object*>(_Block_copy(block)); }

void objc_storeStrong(Object** place, Object* object) {
  objc_retain(object);
  Object* old = *place;
  *place = object;
  objc_release(old);
}

void _Block_object_assign(void* target, const void* object, int flags) {
  const bool is_known = flags == kFieldIsObject || flags == kFieldIsBlock;
  if (!is_known) die("a block captures what this runtime does not know:", "");
  *static_cast<Object**>(target) = objc_retain(static_cast<Object*>(const_cast<void*>(object)));
}

void _Block_object_dispose(const void* object, int) {
  objc_release(static_cast<Object*>(const_cast<void*>(object)));
}

// ---- what NSObject's alloc and dealloc call ----

Object* objc_runtime_allocate(Class* isa) {
  live += 1;
  return new Object{isa, 1, nullptr, nullptr};
}

void objc_runtime_free(Object* object) {
  if (object->destroy != nullptr) object->destroy(object->state);
  live -= 1;
  delete object;
}

}  // extern "C"

struct objc_object;  // "id"

namespace objc_runtime {

size_t live_objects() { return live; }

void*& state_of(objc_object* object) { return reinterpret_cast<Object*>(object)->state; }

void set_state(objc_object* object, void* state, void (*destroy)(void*)) {
  auto* target = reinterpret_cast<Object*>(object);
  target->state = state;
  target->destroy = destroy;
}

}  // namespace objc_runtime
