import MidCore
import Synchronization

/// Tags whose ids go back beside those of other lanes: a database that hangs holds up no other's.
enum ReturnLane: Hashable {
  /// Those of one database, by its place: at most 16.
  case database(Int)
  /// Those whose ids came from several, or from none that takes them back.
  case several

  /// The lane of a tag whose cached ids go back to `databases`.
  init(_ databases: Set<Int>) {
    self = if databases.count == 1, let only = databases.first { .database(only) } else { .several }
  }
}

/// What goes back to one lane's database at the end, taken by several workers, until the store takes something no longer.
final class ReturnQueue: Sendable {
  /// One tag's.
  struct Entry: Sendable {
    let tag: Tag
    let rests: [IDRange]
    let kept: Int64
    let databases: Set<Int>
  }

  private struct State {
    var next = 0
    var skipped = 0
    var error: IDError?
  }

  let lane: ReturnLane
  private let entries: [Entry]
  private let state = Mutex(State())

  init(_ lane: ReturnLane, _ entries: [Entry]) { (self.lane, self.entries) = (lane, entries) }

  var count: Int { self.entries.count }

  /// The next one, nil where there is none left or the lane has ended.
  func next() -> Entry? {
    self.state.withLock { state in
      guard state.error == nil, state.next < self.entries.count else { return nil }
      defer { state.next += 1 }
      return self.entries[state.next]
    }
  }

  /// One was not tried, since its database is down.
  func skip() { self.state.withLock { $0.skipped += 1 } }

  /// The store takes nothing any longer: no further one begins.
  func end(_ error: IDError) { self.state.withLock { $0.error = $0.error ?? error } }

  /// How many were not tried, and what ended the lane, nil where nothing did; once all workers are through.
  var untried: (count: Int, error: IDError?) {
    self.state.withLock { ($0.skipped + self.entries.count - $0.next, $0.error) }
  }
}
