package import Logging
package import MidCore
import ServiceLifecycle
import Synchronization

/// Does the slow part of segments: loads ranges and the tag list from the store, and gives back what is left at the end.
package final class SegmentService: Service {
  /// What a load came to, for metrics and tests.
  package typealias LoadObserver = @Sendable (_ tag: Tag, _ duration: Duration, _ error: IDError?) -> Void

  private enum Work: Sendable {
    case load(SegmentGenerator, SegmentLoad)
    case refresh
    case lookUp(after: Duration)
  }

  /// The tags and their generators.
  package let directory: SegmentDirectory

  let store: any SegmentStore
  private let storeReady: @Sendable () async throws -> Void
  private let refreshInterval: Duration
  let unused: Duration?
  private let marks: SegmentMarks?
  /// What is being given back to, so that it is not begun once more meanwhile.
  let returning = Mutex<Set<ReturnLane>>([])
  let logger: Logger
  private let observer: LoadObserver
  private let work: AsyncStream<Work>
  private let continuation: AsyncStream<Work>.Continuation

  /// Creates the service; nothing is loaded before ``run()``.
  ///
  /// - Parameters:
  ///   - store: where segments come from.
  ///   - storeReady: returns once the store can be used; throws when the service is to end.
  ///   - settings: for the generators.
  ///   - refreshInterval: how often the tag list is read again.
  ///   - unused: after how long without a call a tag's cached ids go back to the store; nil for never.
  ///   - marks: where the ends of what was received are kept for the next run, or nil for nowhere.
  ///   - hasFixedStrides: whether ids of a tag are neighbours in this store, now and always.
  ///   - clock: for the pause between two reads that unknown names ask for.
  ///   - logger: for the events of segments.
  ///   - observer: is told of each load.
  /// - Throws: ``IDError/Code/invalidArgument`` for settings out of their bounds.
  package init(
    store: any SegmentStore, storeReady: @escaping @Sendable () async throws -> Void, settings: SegmentSettings,
    refreshInterval: Duration, unused: Duration? = nil, marks: SegmentMarks? = nil, hasFixedStrides: Bool = true,
    clock: any TimeSource, logger: Logger, observer: @escaping LoadObserver
  ) throws(IDError) {
    self.store = store
    self.storeReady = storeReady
    self.refreshInterval = refreshInterval
    self.unused = unused
    self.marks = marks
    self.logger = logger
    self.observer = observer
    let (work, continuation) = AsyncStream<Work>.makeStream()
    self.work = work
    self.continuation = continuation
    self.directory = try SegmentDirectory(
      settings: settings, maximumWaiting: settings.maximumWaiters, marks: marks?.found.ends ?? [:],
      hasFixedStrides: hasFixedStrides, clock: clock, absence: { store.absence(of: $0) },
      isAway: { (store as? any CompositeStore)?.isAway($0) ?? false },
      onLoadNeeded: { continuation.yield(.load($0, $1)) }, onRefreshNeeded: { continuation.yield(.refresh) },
      onPauseNeeded: { continuation.yield(.lookUp(after: $0)) })
  }

  /// Serves loads until graceful shutdown, then gives the unused rests back, until it is cancelled.
  package func run() async throws {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        group.addTask { await self.keepList() }
        group.addTask { await self.keepSampling() }
        group.addTask { await self.keepRetiring() }
        for await work in self.work {
          switch work {
          case .load(let generator, let load): group.addTask { await self.load(load, for: generator) }
          case .refresh: group.addTask { await self.refresh() }
          case .lookUp(let pause): group.addTask { await self.lookUp(after: pause) }
          }
        }
        group.cancelAll()
      }
    } onGracefulShutdown: {
      self.continuation.finish()
    }
    await self.giveBack()
  }

  /// How often the rates of use are measured.
  package static let sampleInterval: Duration = .seconds(10)

  private func keepSampling() async {
    while !Task.isCancelled {
      do { try await Task.sleep(for: Self.sampleInterval) } catch { return }
      self.directory.sample()
    }
  }

  /// Reads the tag list again now; see ``SegmentDirectory/reload()``.
  package func reload() {
    (self.store as? any CompositeStore)?.confirm()
    self.directory.reload()
  }

  /// Reads the list as soon as the store is there, and again at intervals; after a failure, sooner.
  private func keepList() async {
    do {
      try await self.storeReady()
      while !Task.isCancelled {
        if self.directory.beginRefresh() { await self.refresh() }
        let pause = self.directory.isCurrent ? self.refreshInterval : min(self.refreshInterval, .seconds(1))
        try await Task.sleep(for: pause)
      }
    } catch {
      // Cancelled: the service ends.
    }
  }

  private func lookUp(after pause: Duration) async {
    do { try await Task.sleep(for: pause) } catch { return }
    self.directory.lookUp()
  }

  /// Carries out the read that the directory knows to be under way.
  private func refresh() async {
    do throws(IDError) {
      self.directory.refreshed(try await self.store.tags())
    } catch {
      self.logger.warning("tag list not read", metadata: ["error": "\(error)"])
      self.directory.refreshFailed(error)
    }
  }

  /// Takes one range from the store. After a failure, pauses and has the generator ask again.
  private func load(_ load: SegmentLoad, for generator: SegmentGenerator) async {
    let start = ContinuousClock.now
    do throws(IDError) {
      let range = try await self.store.allocate(load.count, for: load.tag)
      await self.take(range, of: load, for: generator, after: ContinuousClock.now - start)
    } catch {
      self.observer(load.tag, ContinuousClock.now - start, error)
      // Otherwise each call for a tag that was deleted would cost a round trip until the list is next read.
      if error.code == .unknownTag { self.directory.listIsStale() }
      let pause = generator.loadFailed(error, random: Double.random(in: 0..<1))
      self.logger.warning(
        "segment not loaded",
        metadata: [
          "tag": "\(load.tag)", "error": "\(error)",
          "retry_in_ms": "\(pause.map { "\(Int64($0 / .milliseconds(1)))" } ?? "none")",
        ])
      guard let pause else { return }
      await self.retry(generator, after: pause)
    }
  }

  /// Hands a range to whom it belongs, or back to the store.
  private func take(
    _ range: IDRange, of load: SegmentLoad, for generator: SegmentGenerator, after duration: Duration
  ) async {
    let isNewLayout = range.stride != generator.stride && generator !== self.directory.defaultGenerator
    let refusal = generator.refusal(of: range, inAnyLayout: isNewLayout)
    self.observer(load.tag, duration, refusal)
    if let refusal {
      self.logger.error(
        refusal.code == .wentBackwards ? "table went backwards" : "segment refused",
        metadata: ["tag": "\(load.tag)", "error": "\(refusal)"])
    } else {
      self.logger.debug(
        "buffer filled",
        metadata: [
          "tag": "\(load.tag)", "new_max": "\(range.last ?? range.start)", "count": "\(range.count)",
          "duration_ms": "\(duration / .milliseconds(1))",
        ])
      // Before any id of it is given out.
      await self.note(load.tag) { marks throws(IDError) in try await marks.raise(to: range.end, of: load.tag) }
    }
    if isNewLayout && refusal == nil {
      self.logger.notice(
        "layout changed",
        metadata: ["tag": "\(load.tag)", "distance": "\(range.stride)", "was": "\(generator.stride)"])
    }
    let surplus = isNewLayout ? self.directory.adopt(range, of: generator) : generator.loaded(range)
    guard let surplus else { return }
    let ends = [generator.snapshot.highWater, self.directory.cached(load.tag)?.snapshot.highWater]
    await self.giveBack(
      [surplus], of: load.tag, kept: ends.compactMap { $0 }.max() ?? self.directory.mark(of: load.tag) ?? 1)
  }

  private func retry(_ generator: SegmentGenerator, after pause: Duration) async {
    do {
      try await Task.sleep(for: pause)
      generator.retry()
    } catch {
      // Cancelled: the service ends, and with it those who wait.
    }
  }

  /// Notes in the data folder where a range ends. Where the disk refuses, service goes on: what is lost is the second net, for
  /// a database that lost commits while this node was restarted.
  ///
  /// - Returns: Why the folder has it not, nil where it has; without a folder there is nothing to miss.
  @discardableResult
  private func note(_ tag: Tag, _ body: (SegmentMarks) async throws(IDError) -> Void) async -> IDError? {
    guard let marks = self.marks else { return nil }
    do throws(IDError) {
      try await body(marks)
      return nil
    } catch {
      self.logger.warning("segment's end not remembered", metadata: ["tag": "\(tag)", "error": "\(error)"])
      return error
    }
  }

  /// Gives ranges back, the last one first, until the store takes one no longer.
  ///
  /// What the folder remembers goes down with each, and before it: a mark that is too low misses something once, one that
  /// is too high refuses what is right. Other nodes may put the row back further, down to what this one keeps.
  ///
  /// - Parameter kept: the end of what this node has received of the tag and does not give back.
  /// - Returns: what the row must not stand below from now on, and why the store did not answer, or the folder did not remember,
  ///   where it did not: what comes after will fare no better.
  @discardableResult
  func giveBack(_ rests: [IDRange], of tag: Tag, kept: Int64) async -> (mark: Int64, error: IDError?) {
    var mark = rests.last?.end ?? kept
    for (index, rest) in rests.enumerated().reversed() where rest == rests.last || !Task.isCancelled {
      let lower = index > 0 ? rests[index - 1].end : kept
      let failure = await self.note(tag) { marks throws(IDError) in
        try await marks.lower(to: lower, givingBackBelow: rest.end, of: tag)
      }
      if let failure { return (mark, failure) }
      do throws(IDError) {
        let isBack = try await self.store.giveBack(rest, of: tag)
        self.logger.info(
          isBack ? "unused ids given back" : "unused ids skipped",
          metadata: ["tag": "\(tag)", "first": "\(rest.start)", "count": "\(rest.count)"])
        guard isBack else {
          await self.note(tag) { marks throws(IDError) in
            try await marks.raise(to: max(rest.end, kept), of: tag)
          }
          return (max(rest.end, kept), nil)
        }
        mark = lower
      } catch {
        // Nobody knows whether the row was put back: the lower mark stays.
        self.logger.warning("unused ids skipped", metadata: ["tag": "\(tag)", "error": "\(error)"])
        return (lower, error)
      }
    }
    return (mark, nil)
  }
}
