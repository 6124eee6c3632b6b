// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#include <sys/types.h>

#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 0x0001
#define MAP_PRIVATE 0x0002
#define MAP_ANONYMOUS 0x1000
#define MAP_FAILED ((void*)-1)

extern "C" {
void* mmap(void*, size_t, int, int, int, off_t);
int munmap(void*, size_t);
}
