// The part of the C library of macOS that our sources and the C++ library need, for compiling on
// Linux: declarations only. Nothing built with it is ever run.
#pragma once

#define RTLD_NOW 0x2
#define RTLD_NODELETE 0x80

typedef struct {
  const char* dli_fname;
  void* dli_fbase;
  const char* dli_sname;
  void* dli_saddr;
} Dl_info;

extern "C" {
int dladdr(const void*, Dl_info*);
void* dlopen(const char*, int);
}
