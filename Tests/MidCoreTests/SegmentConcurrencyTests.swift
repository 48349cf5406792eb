import MidCore
import MidTestKit
import Synchronization
import Testing

/// Loads what a generator asks for from a counter, at once and on the caller's thread.
private final class CountingLoader: Sendable {
  let position = Atomic<Int64>(1)
  let generator = Mutex<SegmentGenerator?>(nil)
  /// All that was ever loaded.
  let ranges = Collected<IDRange>()

  /// - Parameter gap: Ids left out between ranges, as if other nodes had taken them.
  func load(_ load: SegmentLoad, gap: Int64) {
    let range = IDRange(
      start: self.position.wrappingAdd(load.count + gap, ordering: .relaxed).oldValue, count: load.count)
    self.ranges.append(range)
    self.generator.withLock { $0 }?.loaded(range)
  }
}

@Suite("A segment generator under threads")
struct SegmentConcurrencyTests {
  private func generator(step: Int64, gap: Int64) throws -> (SegmentGenerator, CountingLoader) {
    let loader = CountingLoader()
    let generator = try SegmentGenerator(tag: .default, step: step, clock: ManualClock(wallMilliseconds: 0)) {
      loader.load($1, gap: gap)
    }
    loader.generator.withLock { $0 = generator }
    return (generator, loader)
  }

  @Test(
    "loses and repeats nothing, and grows for each of eight threads", arguments: [(1, 0), (7, 0), (7, 3), (1000, 0)])
  func distinct(step: Int64, gap: Int64) throws {
    let (generator, loader) = try self.generator(step: step, gap: gap)
    let recorders = Collected<UniquenessChecker.Recorder>()
    onThreads(8) { index in
      var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
      for round in 0..<5000 {
        if round % 10 == 0, let range = generator.take(upTo: 5) {
          recorder.record(range)
        } else if let id = generator.next() {
          recorder.record(id)
        } else {
          let answer = Collected<Result<[IDRange], IDError>>()
          let isAnswered = Atomic(false)
          _ = generator.enqueue(count: Int64(round % 3 + 1)) {
            answer.append($0)
            isAnswered.store(true, ordering: .releasing)
          }
          while !isAnswered.load(ordering: .acquiring) {}
          if case .success(let ranges) = answer.all.first {
            for range in ranges { recorder.record(range) }
          }
        }
      }
      recorders.append(recorder)
    }
    #expect(violations(of: recorders.all).isEmpty)
    let ids = recorders.all.flatMap(\.ids)
    let tails = generator.close()
    // What was given out and what is left over is exactly what was loaded: nothing lost, nothing from between ranges.
    let all = (ids + tails.flatMap(\.ids)).sorted()
    #expect(all == loader.ranges.all.flatMap(\.ids).sorted())
  }

  @Test("gives nothing out of the tails that close has returned")
  func closeRace() throws {
    for _ in 0..<100 {
      let (generator, _) = try self.generator(step: 500, gap: 0)
      generator.prefetch()
      let recorders = Collected<UniquenessChecker.Recorder>()
      onThreads(3) { index in
        var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
        if index == 0 {
          for _ in 0..<20 { _ = generator.next().map { recorder.record($0) } }
          for tail in generator.close() { recorder.record(tail) }
        } else {
          while let id = generator.next(), id < 5000 { recorder.record(id) }
        }
        recorders.append(recorder)
      }
      #expect(violations(of: recorders.all).isEmpty)
    }
  }

  @Test("serves callers in this process, who wait for a load without blocking")
  func asynchronous() async throws {
    let tag = try SegmentHarness(step: 10)
    async let first = tag.generator.nextID()
    while tag.generator.snapshot.waiters == 0 { await Task.yield() }
    tag.load(1, 10)
    #expect(try await first == 1)
    #expect(try await tag.generator.nextID() == 2)
    #expect(try await tag.generator.batch(of: 3) == [IDRange(start: 3, count: 3)])
    let error = await #expect(throws: IDError.self) { try await tag.generator.batch(of: 0) }
    #expect(error?.code == .invalidArgument)
  }

  @Test("lets a cancelled task go, whether it waits already or was cancelled before")
  func cancellation() async throws {
    let tag = try SegmentHarness(step: 10)
    let waiting = Task { try await tag.generator.nextID() }
    while tag.generator.snapshot.waiters == 0 { await Task.yield() }
    waiting.cancel()
    let error = await #expect(throws: IDError.self) { try await waiting.value }
    #expect(error?.code == .deadlineExceeded)
    let early = Task {
      while !Task.isCancelled { await Task.yield() }
      return try await tag.generator.nextID()
    }
    early.cancel()
    await #expect(throws: IDError.self) { try await early.value }
    #expect(tag.generator.snapshot.waiters == 0)
    tag.load(1, 10)
    #expect(tag.generator.next() == 1)
  }

  @Test("gives nothing out of what has gone back because nobody seemed to use it")
  func retireRace() throws {
    var retirements = 0
    for _ in 0..<300 {
      let (generator, loader) = try self.generator(step: 500, gap: 0)
      generator.prefetch()
      let recorders = Collected<UniquenessChecker.Recorder>()
      let isRetired = Atomic(false)
      onThreads(3) { index in
        var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
        if index == 0 {
          for _ in 0..<1000 {
            generator.sample()
            guard let tails = generator.retire(ifUnusedFor: .zero) else { continue }
            for tail in tails { recorder.record(tail) }
            isRetired.store(true, ordering: .releasing)
            break
          }
        } else {
          // In bursts, so that there are moments in which nothing is used.
          for turn in 0..<2000 where turn % 50 < 10 {
            if let id = generator.next() { recorder.record(id) } else { break }
          }
        }
        recorders.append(recorder)
      }
      let tails = generator.close()
      if isRetired.load(ordering: .acquiring) {
        retirements += 1
        #expect(tails.isEmpty && generator.next() == nil)
      }
      let all = (recorders.all.flatMap(\.ids) + tails.flatMap(\.ids)).sorted()
      #expect(all == loader.ranges.all.flatMap(\.ids).sorted())
    }
    #expect(retirements > 0, "nothing was tried")
  }
}
