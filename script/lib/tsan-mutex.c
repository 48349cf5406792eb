// Lets the thread sanitizer see the locks of Swift's `Synchronization.Mutex` on Linux.
//
// A mutex that nobody waits for is a few atomics inlined into its user, which the sanitizer sees. One that is waited for
// goes through libswiftSynchronization, which comes with the toolchain and is not built with the sanitizer. The order
// that such a lock makes is then invisible, and whatever it guards looks like a race. Preloaded into a program under the
// sanitizer, this library stands in for the three calls in question, passes them on, and tells the sanitizer what they
// mean. In any other program it only passes them on.
//
// The names are part of the library's ABI. Should they change, nothing calls this any more, and the self-check of
// script/sanitize says so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

typedef SWIFT void (*lock_call)(unsigned, SELF);
typedef SWIFT bool (*try_call)(SELF);
typedef SWIFT void (*unlock_call)(SELF);

// Synchronization._MutexHandle: _lockSlow(UInt32), _tryLockSlow() -> Bool, _unlockSlow().
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void mid_lock(unsigned thread, SELF self) __asm__(LOCK);
SWIFT void mid_lock(unsigned thread, SELF self) {
  ((lock_call)dlsym(RTLD_NEXT, LOCK))(thread, self);
  if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT bool mid_try_lock(SELF self) __asm__(TRY_LOCK);
SWIFT bool mid_try_lock(SELF self) {
  bool locked = ((try_call)dlsym(RTLD_NEXT, TRY_LOCK))(self);
  if (locked && __tsan_acquire) __tsan_acquire(self);
  return locked;
}

// The release comes first: after the call another thread may hold the lock already.
SWIFT void mid_unlock(SELF self) __asm__(UNLOCK);
SWIFT void mid_unlock(SELF self) {
  if (__tsan_release) __tsan_release(self);
  ((unlock_call)dlsym(RTLD_NEXT, UNLOCK))(self);
}
