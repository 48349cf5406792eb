// Moves the wall clock that one process sees, while it runs.
//
// Preloaded with LD_PRELOAD. The file named by CLOCK_SHIM_FILE holds one int64 in the machine's byte order: the
// nanoseconds to add to the real time. It is mapped, so whoever writes to it steps the clock of the running process.
// The monotonic clocks stay as they are. Kernel timestamps of packets are refused, because they would tell the real time.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shift;

__attribute__((constructor)) static void map_shift(void) {
  const char *path = getenv("CLOCK_SHIM_FILE");
  if (path == NULL) return;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) abort();
  void *address = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (address == MAP_FAILED) abort();
  shift = address;
}

static int shifted(clockid_t clock, struct timespec *result) {
  int status = (int)syscall(SYS_clock_gettime, clock, result);
  if (status != 0 || shift == NULL) return status;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI) return 0;
  int64_t nanoseconds = (int64_t)result->tv_sec * 1000000000 + result->tv_nsec + *shift;
  result->tv_sec = nanoseconds / 1000000000;
  result->tv_nsec = nanoseconds % 1000000000;
  return 0;
}

int clock_gettime(clockid_t clock, struct timespec *result) { return shifted(clock, result); }

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (shifted(CLOCK_REALTIME, &now) != 0) return -1;
  result->tv_sec = now.tv_sec;
  result->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  if (shifted(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
  if (result != NULL) *result = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *result, int base) {
  if (base != TIME_UTC || shifted(CLOCK_REALTIME, result) != 0) return 0;
  return base;
}

int setsockopt(int descriptor, int level, int option, const void *value, socklen_t length) {
  if (level == SOL_SOCKET && (option == SO_TIMESTAMP || option == SO_TIMESTAMPNS || option == SO_TIMESTAMPING)) {
    errno = ENOPROTOOPT;
    return -1;
  }
  return (int)syscall(SYS_setsockopt, descriptor, level, option, value, length);
}
