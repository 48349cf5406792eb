internal import Synchronization

/// What the keeper of the time bound calls: rarely, and under a lock of its own that no id waits for.
///
/// ``revoke(_:)`` and ``close()`` are exact although callers race with them: they exchange the word itself for a closed
/// one. A call that is between its reading and its swap then finds another word and issues nothing, so the word that the
/// exchange returned is the last there ever was. A later grant resumes at least one position further on, so that a call
/// that slept through both cannot find its old word again.
extension SnowflakeGenerator {
  /// Lets the generator issue: nothing below the floor, nothing that reaches the bound. Times are milliseconds since the
  /// Unix epoch, rounded inwards to whole ticks. While it issues already, both only move upwards.
  ///
  /// Call it with a floor of the bound that the store held *before* the worker id was taken, and a bound that is stored.
  ///
  /// - Parameters:
  ///   - floor: The first millisecond that may be issued in.
  ///   - bound: The first millisecond that must not be.
  ///   - leaseEnd: When the lease ends, in nanoseconds of the monotonic clock. `UInt64.max`, the default, for a worker id that
  ///     nobody else can get.
  /// - Returns: `false` after ``close()``, when nothing is granted any more.
  @discardableResult
  public func grant(
    floorWallMilliseconds floor: Int64, boundWallMilliseconds bound: Int64, leaseEnd: UInt64 = .max
  ) -> Bool {
    self.control.withLock { control in
      guard !control.isFinal else { return false }
      if self.word.load(ordering: .acquiring) == Self.closed {
        // The bound first: whoever sees the word open sees this bound or a later one.
        self.boundPosition.store(self.boundPosition(of: bound), ordering: .releasing)
        self.leaseEnd.store(leaseEnd, ordering: .releasing)
        let resume = max(control.resume + (control.wasGranted ? 1 : 0), self.floorPosition(of: floor))
        control.wasGranted = true
        self.word.store(resume, ordering: .releasing)
      } else {
        self.raiseOpenWord(to: self.floorPosition(of: floor))
        self.raiseBound(to: self.boundPosition(of: bound))
        // An end where there was none, after a start without the store: the one case in which it comes nearer.
        self.leaseEnd.store(leaseEnd, ordering: .releasing)
      }
      return true
    }
  }

  /// Never issues an id of a time before `floor` (milliseconds since the Unix epoch) from now on. Lower floors than
  /// before change nothing.
  public func raiseFloor(toWallMilliseconds floor: Int64) {
    let position = self.floorPosition(of: floor)
    self.control.withLock { control in
      if self.word.load(ordering: .acquiring) == Self.closed {
        control.resume = max(control.resume, position)
      } else {
        self.raiseOpenWord(to: position)
      }
    }
  }

  /// Moves the bound upwards to `bound` (milliseconds since the Unix epoch), which is stored already. Lower ones change
  /// nothing.
  ///
  /// - Parameters:
  ///   - bound: The first millisecond that must not be issued in.
  ///   - leaseEnd: The new end of the lease in nanoseconds of the monotonic clock, or nil to leave it.
  /// - Returns: `false` where nothing is granted now: before the first grant, after ``revoke(_:)`` or ``close()``.
  @discardableResult
  public func extendBound(toWallMilliseconds bound: Int64, leaseEnd: UInt64? = nil) -> Bool {
    self.control.withLock { _ in
      guard self.word.load(ordering: .acquiring) != Self.closed else { return false }
      self.raiseBound(to: self.boundPosition(of: bound))
      if let leaseEnd, leaseEnd > self.leaseEnd.load(ordering: .relaxed) {
        self.leaseEnd.store(leaseEnd, ordering: .releasing)
      }
      return true
    }
  }

  /// Issues nothing more until the next grant; calls fail with `reason`. No id is given out after this has returned.
  ///
  /// - Returns: ``lastIssuedBound``, exact.
  @discardableResult
  public func revoke(_ reason: IDError) -> Int64 {
    self.control.withLock { control in self.shut(&control, reason: reason) }
  }

  /// Issues nothing more, ever; calls fail with ``IDError/Code/notReady``. No id is given out after this has returned.
  ///
  /// - Returns: ``lastIssuedBound``, exact: what a clean stop stores.
  @discardableResult
  public func close() -> Int64 {
    self.control.withLock { control in
      control.isFinal = true
      return self.shut(&control, reason: IDError(.notReady, "the service is stopping"))
    }
  }

  /// The first millisecond since the Unix epoch that no id given out has reached; the floor where none was given out.
  ///
  /// Exact after ``revoke(_:)`` or ``close()``, and the state of a moment ago while ids are being given out.
  public var lastIssuedBound: Int64 {
    self.control.withLock { control in
      let word = self.word.load(ordering: .acquiring)
      return self.wallBound(of: word == Self.closed ? control.resume : word)
    }
  }

  /// Whether a call would get an id now, or within 50 ms: granted, the bound ahead of the clock, and the clock not too
  /// far behind the ids. Issues nothing.
  public var canIssue: Bool {
    let position = self.word.load(ordering: .acquiring)
    return switch self.room(at: position, now: self.clock.wallMilliseconds(), mayStartAhead: true) {
    case .from: true
    // Batches may have run ahead as far as they may: single calls then wait for milliseconds, and are served.
    case .wait(let wait): wait.reason == .nextTick || wait.duration <= .milliseconds(50)
    case .failure: false
    }
  }

  /// Whether a grant is in force. Its bound may have passed all the same.
  public var isGranted: Bool { self.word.load(ordering: .acquiring) != Self.closed }

  /// Whether it was ever granted anything.
  var wasGranted: Bool { self.control.withLock { $0.wasGranted } }

  private func shut(_ control: inout Control, reason: IDError) -> Int64 {
    // The reason stands before the word closes: whoever finds it closed waits for this lock and reads the new one.
    control.reason = reason
    let last = self.word.exchange(Self.closed, ordering: .acquiringAndReleasing)
    if last != Self.closed { control.resume = last }
    self.boundPosition.store(0, ordering: .releasing)
    return self.wallBound(of: control.resume)
  }

  private func raiseOpenWord(to position: UInt64) {
    var word = self.word.load(ordering: .acquiring)
    while word < position {
      let (exchanged, current) = self.word.compareExchange(
        expected: word, desired: position, ordering: .acquiringAndReleasing)
      if exchanged { return }
      word = current
    }
  }

  private func raiseBound(to position: UInt64) {
    // Only changed under the lock, so a plain comparison is enough.
    if position > self.boundPosition.load(ordering: .relaxed) {
      self.boundPosition.store(position, ordering: .releasing)
    }
  }

  /// The first position of the first tick that begins at or after `floor`.
  private func floorPosition(of floor: Int64) -> UInt64 {
    let (elapsed, tooEarly) = floor.subtractingReportingOverflow(self.layout.epochMilliseconds)
    guard !tooEarly, elapsed > 0 else { return 0 }
    let (quotient, remainder) = elapsed.quotientAndRemainder(dividingBy: self.layout.tickMilliseconds)
    return UInt64(min(quotient + (remainder > 0 ? 1 : 0), self.layout.maximumTick + 1)) << self.shift
  }

  /// The first position of the tick that holds or begins at `bound`: ticks before it end at or before the bound.
  private func boundPosition(of bound: Int64) -> UInt64 {
    let (elapsed, tooEarly) = bound.subtractingReportingOverflow(self.layout.epochMilliseconds)
    guard !tooEarly, elapsed > 0 else { return 0 }
    return UInt64(min(elapsed / self.layout.tickMilliseconds, self.layout.maximumTick + 1)) << self.shift
  }

  /// The end of the last tick that has a position below `position`.
  private func wallBound(of position: UInt64) -> Int64 {
    let whole = Int64(position >> self.shift)
    let isBegun = position & ((1 << self.shift) - 1) != 0
    return self.layout.wallMilliseconds(ofTick: isBegun ? whole + 1 : whole)
  }
}
