// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#include <sys/types.h>

#define _SC_PAGESIZE 29

extern "C" {
int close(int);
ssize_t read(int, void*, size_t);
long sysconf(int);
}
