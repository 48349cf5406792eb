package import MidCore

/// Which batches were answered under which key, so that a retry gets the same ids: a bounded table, as a value.
///
/// A key counts for ``lifetime`` from its answer on. What is full refuses: a promise that is dropped silently is none.
package struct RequestKeyStateMachine<Reply: Sendable>: Sendable {
  /// What a key stands for: the same key with another request is a mistake of the caller.
  package struct Request: Sendable, Hashable {
    var mode: RequestFields.Mode
    var tag: Tag?
    var count: Int64
  }

  /// What to do with a call that has a key.
  package enum Begin: Sendable {
    /// It is the first: carry it out, then ``finish(_:ranges:now:)`` or ``fail(_:)``.
    case first
    /// It was answered before, with these ranges.
    case again([IDRange])
    /// The first is still under way: its end answers this one too.
    case waits
    /// The key was used for another request.
    case conflict
    /// No room for another key.
    case full
  }

  private enum Entry: Sendable {
    case underWay(Request)
    case answered(Request, [IDRange])
  }

  /// How long a key counts, in nanoseconds: ten minutes.
  package static var lifetime: UInt64 { 600_000_000_000 }
  /// The longest key, in bytes.
  package static var longestKey: Int { 64 }
  /// How many keys and ranges there may be together.
  package static var capacity: Int { 200_000 }

  private var entries: [[UInt8]: Entry] = [:]
  /// Calls that wait for the first one under their key. Beside the entries, so that adding one copies no others.
  private var waiting: [[UInt8]: [Reply]] = [:]
  /// Keys in the order of their answers.
  private var ends: [(key: [UInt8], at: UInt64)] = []
  private var firstEnd = 0
  /// Keys and ranges that are held.
  package private(set) var used = 0

  /// A call with `key` arrives. Where it waits, `reply` is kept.
  package mutating func begin(_ key: [UInt8], _ request: Request, reply: Reply, now: UInt64) -> Begin {
    self.forget(now)
    switch self.entries[key] {
    case .answered(request, let ranges): return .again(ranges)
    case .underWay(request):
      guard self.used < Self.capacity else { return .full }
      self.used += 1
      self.waiting[key, default: []].append(reply)
      return .waits
    case .answered, .underWay: return .conflict
    case nil:
      guard self.used < Self.capacity else { return .full }
      self.used += 1
      self.entries[key] = .underWay(request)
      return .first
    }
  }

  /// The first call with `key` was answered with `ranges`.
  ///
  /// - Returns: The calls that waited, for the same answer.
  package mutating func finish(_ key: [UInt8], ranges: [IDRange], now: UInt64) -> [Reply] {
    guard case .underWay(let request) = self.entries[key] else { return [] }
    let waiting = self.waiting.removeValue(forKey: key) ?? []
    self.entries[key] = .answered(request, ranges)
    self.used += ranges.count - waiting.count
    self.ends.append((key, now &+ Self.lifetime))
    return waiting
  }

  /// The first call with `key` has failed: the next one is the first again.
  ///
  /// - Returns: The calls that waited, for the same error.
  package mutating func fail(_ key: [UInt8]) -> [Reply] {
    guard case .underWay = self.entries[key] else { return [] }
    let waiting = self.waiting.removeValue(forKey: key) ?? []
    self.entries[key] = nil
    self.used -= 1 + waiting.count
    return waiting
  }

  private mutating func forget(_ now: UInt64) {
    while self.firstEnd < self.ends.count, self.ends[self.firstEnd].at <= now {
      if case .answered(_, let ranges) = self.entries.removeValue(forKey: self.ends[self.firstEnd].key) {
        self.used -= 1 + ranges.count
      }
      self.firstEnd += 1
    }
    // Half of it is history.
    if self.firstEnd > 1000, self.firstEnd * 2 > self.ends.count {
      self.ends.removeFirst(self.firstEnd)
      self.firstEnd = 0
    }
  }
}
