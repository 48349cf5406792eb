// Shows that script/sanitize finds a race, and takes no contended mutex for one: its self-check, see there.
//
//   tsan-check race     two threads change a variable: must be reported
//   tsan-check mutex    four threads do so under a mutex that they wait for: must not be reported
import Foundation
import Synchronization

final class Counters: Sendable {
  // SAFETY: none; this is the race that has to be found.
  nonisolated(unsafe) var bare = 0
  let guarded = Mutex([0])
}

let counters = Counters()

func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
  let group = DispatchGroup()
  for _ in 0..<count {
    group.enter()
    Thread {
      body()
      group.leave()
    }.start()
  }
  group.wait()
}

switch CommandLine.arguments.dropFirst().first {
case "race": onThreads(2) { for _ in 0..<1000 { counters.bare += 1 } }
case "mutex":
  onThreads(4) { for _ in 0..<20_000 { counters.guarded.withLock { $0[0] += 1 } } }
  precondition(counters.guarded.withLock { $0[0] } == 80_000, "the mutex guards its value")
default:
  print("usage: tsan-check race|mutex")
  exit(2)
}
