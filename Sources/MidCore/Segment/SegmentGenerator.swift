public import Synchronization

/// Gives out one tag's ids from ranges that a store reserved: strictly increasing for this generator and tag, never
/// twice, never below 1. Safe to call from any number of threads.
///
/// The hot path, ``next()`` and ``take(upTo:)``, is a compare-and-swap on three atomics, no lock, no allocation, no clock:
/// ```
/// x = next;  if x < limit, swap next from x to x + n·stride   →  the ids from x on are the caller's
/// ```
/// Why that is safe:
/// - `next` and `limit` only grow, so a swap that finds `next == x` finds the very state it read `x` in: no ABA.
/// - A swap stays within the limit it read, and the limit only grows, so `next <= limit` always holds.
/// - A new range is installed only when `next == limit` (nothing can be taken then), under the lock, and in this order:
///   `next = start`, then `limit = end`, releasing. A call that reads the new `next` and the old limit finds
///   `next >= limit` and goes to the slow path. One that reads the old `next` and the new limit fails in its swap, because
///   `next` was stored before the limit it has acquired; or, where both ranges adjoin, `next` has not changed at all and
///   the id is right. So nothing between two ranges is ever given out.
/// - Draining is a swap of `next` to `limit`: what it skips belongs to the drainer alone.
///
/// Everything else, the standby range, waiters, loads, retries, is `SegmentStateMachine` under a `Mutex`; completions
/// and `onLoadNeeded` are called after it was left.
///
/// It does not fetch ranges itself: `onLoadNeeded` says when, and ``loaded(_:)`` or ``loadFailed(_:random:)`` has to
/// follow each time. It promises no order across generators, and no gapless ids.
public final class SegmentGenerator: Sendable {
  /// Completes a waiting call, exactly once, on any thread. Must not block.
  public typealias Completion = @Sendable (Result<[IDRange], IDError>) -> Void

  /// How ``enqueue(count:completion:)`` went.
  public enum EnqueueResult: Sendable, Hashable {
    /// The completion has been called already, with ids or an error.
    case answered
    /// The completion will be called; call ``SegmentGenerator/expire(_:)`` at the deadline.
    case waiting(WaiterID)
  }

  typealias Machine = SegmentStateMachine<Completion>

  /// Whose ids.
  public let tag: Tag
  /// The distance between neighbouring ids, 1 or more.
  public let stride: Int64
  /// The next id, or `limit` and above where the serving range is used up.
  @usableFromInline let nextValue = Atomic<Int64>(0)
  /// The end of the serving range.
  @usableFromInline let limit = Atomic<Int64>(0)
  /// The first value of `next` from which on the next load is due; `Int64.max` once somebody has seen to it.
  @usableFromInline let loadMark = Atomic<Int64>(.max)
  let machine: Mutex<Machine>
  let clock: any TimeSource
  let onLoadNeeded: @Sendable (SegmentGenerator, SegmentLoad) -> Void

  /// Creates a generator that has nothing yet; it asks for its first range at the first call, or at ``prefetch()``.
  ///
  /// - Parameters:
  ///   - tag: Whose ids.
  ///   - step: How many ids a load takes at least; below 1 counts as 1.
  ///   - stride: The distance between neighbouring ids of the store's ranges, 1 or more.
  ///   - settings: Limits.
  ///   - highWater: The end of what an earlier generator of this tag had received, or nil: a range that starts below it
  ///     is refused, as if this one had received it.
  ///   - clock: By which the rate of use is measured; only its monotonic side is read, and only off the hot path.
  ///   - onLoadNeeded: Starts a load of the generator that it is handed. Called on the thread of a caller, outside the
  ///     lock; must not block. It need not hold the generator, weakly least of all: an object that has a weak reference pays
  ///     for it at each retain.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason.
  public init(
    tag: Tag, step: Int64, stride: Int64 = 1, settings: SegmentSettings = SegmentSettings(), highWater: Int64? = nil,
    clock: any TimeSource, onLoadNeeded: @escaping @Sendable (SegmentGenerator, SegmentLoad) -> Void
  ) throws(IDError) {
    try settings.validate()
    guard stride >= 1 else { throw IDError(.invalidArgument, "segment: ids lie 1 or more apart, not \(stride)") }
    self.tag = tag
    self.stride = stride
    self.machine = Mutex(Machine(tag: tag, step: step, stride: stride, settings: settings, highWater: highWater))
    self.clock = clock
    self.onLoadNeeded = onLoadNeeded
  }

  /// The next id out of what is cached, or nil where nothing is: then ``enqueue(count:completion:)``.
  ///
  /// Cost: a compare-and-swap; a lock once a range.
  @inlinable
  public func next() -> Int64? {
    var value = self.nextValue.load(ordering: .acquiring)
    while value < self.limit.load(ordering: .acquiring) {
      let following = value &+ self.stride
      let (exchanged, current) = self.nextValue.weakCompareExchange(
        expected: value, desired: following, ordering: .acquiringAndReleasing)
      if exchanged {
        if following >= self.loadMark.load(ordering: .relaxed) { self.markPassed(by: following) }
        return value
      }
      value = current
    }
    return self.takeSlowly(upTo: 1)?.start
  }

  /// Up to `count` neighbouring ids out of one cached range, or nil where nothing is cached or `count` is not
  /// 1 to 1,000,000: then ``enqueue(count:completion:)``, which also names the error.
  ///
  /// Cost: a compare-and-swap for the whole batch.
  @inlinable
  public func take(upTo count: Int64) -> IDRange? {
    guard (1...BatchLimit.maximum).contains(count) else { return nil }
    return self.takeServing(upTo: count) ?? self.takeSlowly(upTo: count)
  }

  /// Exactly `count` neighbouring ids out of the serving range, or nil where it has not that many or `count` is not
  /// 1 to 1,000,000: then ``enqueue(count:completion:)``. Takes nothing where it answers nil.
  ///
  /// Cost: a compare-and-swap for the whole batch.
  @inlinable
  public func take(exactly count: Int64) -> IDRange? {
    guard (1...BatchLimit.maximum).contains(count) else { return nil }
    return self.takeServing(upTo: count, orNothing: true)
  }

  /// The lock-free half of ``take(upTo:)``.
  @usableFromInline
  func takeServing(upTo count: Int64, orNothing exactly: Bool = false) -> IDRange? {
    var value = self.nextValue.load(ordering: .acquiring)
    while true {
      let limit = self.limit.load(ordering: .acquiring)
      guard value < limit else { return nil }
      let taken = min(count, (limit - value) / self.stride)
      guard taken == count || !exactly else { return nil }
      let following = value + taken * self.stride
      let (exchanged, current) = self.nextValue.weakCompareExchange(
        expected: value, desired: following, ordering: .acquiringAndReleasing)
      if exchanged {
        if following >= self.loadMark.load(ordering: .relaxed) { self.markPassed(by: following) }
        return IDRange(start: value, count: taken, stride: self.stride)
      }
      value = current
    }
  }

  /// Asks for the standby range, once for each mark: whoever swaps it away is the one that asks.
  @usableFromInline
  func markPassed(by following: Int64) {
    let mark = self.loadMark.load(ordering: .relaxed)
    guard following >= mark, mark != .max,
      self.loadMark.compareExchange(expected: mark, desired: .max, ordering: .relaxed).exchanged
    else { return }
    self.perform(
      self.machine.withLock { machine in
        machine.passed(mark: mark)
        return Machine.Action(load: self.loadIfDue(&machine))
      })
  }

  /// Tries again under the lock, where nobody else installs ranges, and goes over to standby.
  @usableFromInline
  func takeSlowly(upTo count: Int64) -> IDRange? {
    let (range, action) = self.machine.withLock { machine -> (IDRange?, Machine.Action) in
      // Not `markPassed` under the lock: it would lock again. Crossing the mark here is noticed by the next call.
      if let range = self.swap(upTo: count) { return (range, Machine.Action()) }
      guard let (range, publication) = machine.takeSome(upTo: count) else { return (nil, Machine.Action()) }
      self.install(publication)
      return (range, Machine.Action(load: self.loadIfDue(&machine)))
    }
    self.perform(action)
    return range
  }
}

// MARK: - The atomics under the lock

extension SegmentGenerator {
  /// Ids left in the serving range at this moment. It only shrinks while the lock is held.
  var servingLeft: Int64 {
    let value = self.nextValue.load(ordering: .acquiring)
    return max(0, self.limit.load(ordering: .acquiring) - value) / self.stride
  }

  /// Takes up to `count` ids of the serving range without looking at the mark.
  func swap(upTo count: Int64) -> IDRange? {
    var value = self.nextValue.load(ordering: .acquiring)
    let limit = self.limit.load(ordering: .acquiring)
    while value < limit {
      let taken = min(count, (limit - value) / self.stride)
      let (exchanged, current) = self.nextValue.compareExchange(
        expected: value, desired: value + taken * self.stride, ordering: .acquiringAndReleasing)
      if exchanged { return IDRange(start: value, count: taken, stride: self.stride) }
      value = current
    }
    return nil
  }

  /// Takes `count` ids of the serving range without looking at the mark, or none where fewer are left.
  func swap(exactly count: Int64) -> IDRange? {
    var value = self.nextValue.load(ordering: .acquiring)
    let limit = self.limit.load(ordering: .acquiring)
    while value < limit, (limit - value) / self.stride >= count {
      let (exchanged, current) = self.nextValue.compareExchange(
        expected: value, desired: value + count * self.stride, ordering: .acquiringAndReleasing)
      if exchanged { return IDRange(start: value, count: count, stride: self.stride) }
      value = current
    }
    return nil
  }

  /// Takes all that is left of the serving range, if that is exactly `count` ids.
  ///
  /// - Returns: `false` where another call came first and `count` is no longer right.
  func drain(exactly count: Int64) -> (isDrained: Bool, rest: IDRange?) {
    let limit = self.limit.load(ordering: .acquiring)
    let value = limit - count * self.stride
    guard count > 0 else { return (true, nil) }
    let exchanged = self.nextValue.compareExchange(
      expected: value, desired: limit, ordering: .acquiringAndReleasing
    ).exchanged
    return exchanged ? (true, IDRange(start: value, count: count, stride: self.stride)) : (false, nil)
  }

  /// Makes `publication` the serving range. Only under the lock, and only while the old one is used up.
  func install(_ publication: Machine.Publication?) {
    guard let publication, !publication.range.isEmpty else { return }
    // The mark first: an old mark that a late call swaps away afterwards no longer matches. The order of the other two
    // is what the type's text argues from.
    self.loadMark.store(publication.mark, ordering: .releasing)
    self.nextValue.store(publication.range.start, ordering: .releasing)
    self.limit.store(publication.range.end, ordering: .releasing)
  }

  /// The load to start, if one is due. Under the lock, after a range was installed.
  func loadIfDue(_ machine: inout Machine) -> SegmentLoad? {
    machine.loadIfDue(servingLeft: self.servingLeft) { self.clock.monotonicNanoseconds() }
  }

  /// Does what the rules said, after the lock was left.
  func perform(_ action: Machine.Action) {
    for (reply, result) in action.answers { reply(result) }
    if let load = action.load { self.onLoadNeeded(self, load) }
  }
}
