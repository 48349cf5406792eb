// Swift's Glibc module leaves out malloc.h.
#ifndef MID_MEMORY_SHIM_H
#define MID_MEMORY_SHIM_H

#include <stdlib.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

// Gives pages that hold nothing but freed memory back to the system, where the C library does not by itself.
static inline void mid_return_freed_memory(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

#endif
