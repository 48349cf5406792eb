internal import Synchronization

/// A node's Snowflake ids: those of whichever worker id it holds at the time.
///
/// Each worker id has a ``SnowflakeGenerator`` of its own, so that an answer that comes late, of a call that began under
/// the worker id before, can't put ids of two together. At most one of them is open at a time. Ids increase strictly while
/// the worker id stays the same; another one begins where its own ids ended, which may be below.
///
/// Safe to call from any number of threads, and as cheap as the generator itself.
public final class SnowflakeNode: Sendable {
  /// How ids are put together.
  public let layout: SnowflakeLayout
  private let make: @Sendable (WorkerID) throws(IDError) -> SnowflakeGenerator
  private let state: Mutex<State>
  // SAFETY: the address of one of the state's generators, which keeps every generator that was ever made for as long as this lives.
  private let currentAddress: Atomic<UInt>

  private struct State: Sendable {
    /// By worker number. There are no more of them than worker ids.
    var generators: [Int64: SnowflakeGenerator]
    var isClosed = false
  }

  /// Creates a node that issues nothing until its first grant.
  ///
  /// - Parameters:
  ///   - layout: How ids are put together.
  ///   - clock: Whose time the ids have. This and the others are as for
  ///     ``SnowflakeGenerator/init(layout:worker:clock:maxAhead:sequenceJitter:salt:)``.
  ///   - maxAhead: How far ids may run ahead of the clock.
  ///   - sequenceJitter: Below what a new tick's sequence starts.
  ///   - salt: Mixed into where it starts.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason.
  public init(
    layout: SnowflakeLayout, clock: any TimeSource, maxAhead: Duration, sequenceJitter: Int, salt: UInt64
  ) throws(IDError) {
    let make: @Sendable (WorkerID) throws(IDError) -> SnowflakeGenerator = { worker throws(IDError) in
      try SnowflakeGenerator(
        layout: layout, worker: worker, clock: clock, maxAhead: maxAhead, sequenceJitter: sequenceJitter, salt: salt)
    }
    let first = try make(WorkerID(0, layout: layout))
    first.revoke(IDError(.leaseLost, "this node has no worker id yet"))
    self.layout = layout
    self.make = make
    self.state = Mutex(State(generators: [0: first]))
    self.currentAddress = Atomic(Self.address(of: first))
  }

  /// The generator of the worker id that is held, or was held last.
  public var current: SnowflakeGenerator {
    let address = self.currentAddress.load(ordering: .acquiring)
    guard let pointer = UnsafeRawPointer(bitPattern: address) else { preconditionFailure("no generator at address 0") }
    return Unmanaged.fromOpaque(pointer).takeUnretainedValue()
  }

  private static func address(of generator: SnowflakeGenerator) -> UInt {
    UInt(bitPattern: Unmanaged.passUnretained(generator).toOpaque())
  }

  /// How far ids may run ahead of the clock, in whole ticks.
  public var maxAhead: Duration { self.current.maxAhead }

  /// The next id.
  @inline(__always)
  public func next() -> SnowflakeOutcome {
    let generator = self.current
    let outcome = generator.next()
    if case .failure = outcome, self.current !== generator { return self.current.next() }
    return outcome
  }

  /// Up to `count` ids, 1 to 1,000,000.
  public func take(upTo count: Int64) -> SnowflakeBatchOutcome {
    let generator = self.current
    let outcome = generator.take(upTo: count)
    if case .failure = outcome, self.current !== generator { return self.current.take(upTo: count) }
    return outcome
  }

  /// How many ids batches could take now, while nobody else takes any. Issues nothing.
  package func reach() -> SnowflakeReach { self.current.reach() }

  /// What to answer a caller whose deadline came before the end of `wait`.
  public func deadlineError(for wait: SnowflakeWait) -> IDError { self.current.deadlineError(for: wait) }

  /// Whether a call would get an id now, or within 50 ms. Issues nothing.
  public var canIssue: Bool { self.current.canIssue }

  /// The first millisecond since the Unix epoch that no id of the present worker id has reached; 0 before its first grant.
  public var front: Int64 {
    let generator = self.current
    return generator.wasGranted ? generator.lastIssuedBound : 0
  }

  // MARK: - For the keeper of the worker id

  /// Issues ids of `worker` from now on, and of no other; see
  /// ``SnowflakeGenerator/grant(floorWallMilliseconds:boundWallMilliseconds:leaseEnd:)``. Nothing happens after
  /// ``close()``.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` for a worker number that the layout has no room for.
  public func grant(
    worker: Int64, floorWallMilliseconds floor: Int64, boundWallMilliseconds bound: Int64, leaseEnd: UInt64
  ) throws(IDError) {
    let worker = try WorkerID(worker, layout: self.layout)
    let made = try self.make(worker)
    self.state.withLock { state in
      guard !state.isClosed else { return }
      let previous = self.current
      let generator = state.generators[worker.number] ?? made
      state.generators[worker.number] = generator
      if previous !== generator {
        previous.revoke(IDError(.leaseLost, "worker id \(previous.worker.number) was given up for another"))
      }
      generator.grant(floorWallMilliseconds: floor, boundWallMilliseconds: bound, leaseEnd: leaseEnd)
      self.currentAddress.store(Self.address(of: generator), ordering: .releasing)
    }
  }

  /// Issues further; see ``SnowflakeGenerator/extendBound(toWallMilliseconds:leaseEnd:)``.
  ///
  /// - Returns: Whether a grant is in force.
  @discardableResult
  public func extend(boundWallMilliseconds bound: Int64, leaseEnd: UInt64) -> Bool {
    self.current.extendBound(toWallMilliseconds: bound, leaseEnd: leaseEnd)
  }

  /// Issues nothing more until the next grant; calls fail with `reason`.
  ///
  /// - Returns: ``front``, exact.
  @discardableResult
  public func revoke(_ reason: IDError) -> Int64 {
    let generator = self.current
    let bound = generator.revoke(reason)
    return generator.wasGranted ? bound : 0
  }

  /// Issues nothing more, ever; calls fail with ``IDError/Code/notReady``.
  ///
  /// - Returns: ``front``, exact.
  @discardableResult
  public func close() -> Int64 {
    self.state.withLock { state in
      state.isClosed = true
      let generator = self.current
      let bound = generator.close()
      return generator.wasGranted ? bound : 0
    }
  }
}
