// The system's clocks as plain numbers. In C, because Swift's Glibc module leaves out adjtimex, and because which module
// owns `struct timespec` depends on what else a file imports.
#ifndef MID_CLOCK_SHIM_H
#define MID_CLOCK_SHIM_H

#include <stdint.h>
#include <time.h>
#if defined(__linux__)
#include <sys/timex.h>
#endif

// Nanoseconds since 1970-01-01T00:00:00Z by the wall clock.
static inline int64_t mid_wall_nanoseconds(void) {
  struct timespec now = {0, 0};
  clock_gettime(CLOCK_REALTIME, &now);
  // Past the year 2262, which no clock that is right shows, it stays at the last nanosecond that there is a number for.
  if (now.tv_sec >= INT64_MAX / 1000000000) return INT64_MAX;
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Nanoseconds of the clock that never steps and goes on while the machine sleeps. CLOCK_MONOTONIC stops there on Linux,
// and Darwin's CLOCK_MONOTONIC_RAW is the one that does not.
static inline uint64_t mid_monotonic_nanoseconds(void) {
  struct timespec now = {0, 0};
#if defined(__linux__)
  clock_gettime(CLOCK_BOOTTIME, &now);
#else
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
#endif
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// The kernel's view of its clock, errors in microseconds.
typedef struct {
  int32_t synchronized;
  // 1 where a leap second is to be inserted at the end of the day (UTC), -1 where one is to be left out, else 0.
  int32_t leap;
  int64_t estimated_error;
  int64_t maximum_error;
} mid_kernel_clock;

// Fills `clock` and returns 1, or returns 0 where the kernel can't be asked.
static inline int32_t mid_read_kernel_clock(mid_kernel_clock *clock) {
#if defined(__linux__)
  struct timex state = {0};
  int result = adjtimex(&state);
  if (result < 0) return 0;
  clock->synchronized = result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  clock->leap = result == TIME_INS || result == TIME_OOP ? 1 : result == TIME_DEL ? -1 : 0;
  clock->estimated_error = state.esterror;
  clock->maximum_error = state.maxerror;
  return 1;
#else
  (void)clock;
  return 0;
#endif
}

#endif
