// See sys/types.h.
#pragma once

typedef union {
  char opaque[128];
} mbstate_t;
