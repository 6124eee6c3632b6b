// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#include <sys/types.h>

#define S_ISREG(mode) (((mode)&0170000) == 0100000)

struct stat {
  mode_t st_mode;
  off_t st_size;
};
extern "C" int fstat(int, struct stat*);
