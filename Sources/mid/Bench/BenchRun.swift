import MidRPC
import MidServer
import NIOCore
import NIOPosix

/// Runs a plan: connects, lets all connections begin at the same time, waits, and puts together what they saw.
struct BenchRun {
  /// The lanes of one event loop, and what they write to. Used on that event loop only.
  private final class Crew {
    let recorder: BenchRecorder
    let lanes: [BenchLane]

    init(recorder: BenchRecorder, lanes: [BenchLane]) {
      self.recorder = recorder
      self.lanes = lanes
    }
  }

  /// What one event loop's lanes have seen in all.
  private struct Harvest: Sendable {
    var record: BenchRecorder.Record
    var broken: BrokenPromises
    var logs: [IDLog]
  }

  let plan: BenchPlan
  let dialer: BenchDialer
  /// How many event loops.
  let threads: Int

  /// Runs the plan to its end, or until `interruption` says so.
  ///
  /// - Parameters:
  ///   - history: what earlier runs were given and these ids are checked against; takes in what this run is given.
  ///   - progress: told about every second where the run stands.
  /// - Throws: `RPCStatus` where a connection can't be made at the beginning.
  func run(
    history: inout IDHistory, interruption: BenchInterruption, progress: BenchProgress
  ) async throws -> BenchResult {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: min(self.threads, self.plan.connections))
    do {
      let result = try await self.run(on: group, &history, interruption, progress)
      try await group.shutdownGracefully()
      return result
    } catch {
      try await group.shutdownGracefully()
      throw error
    }
  }

  private func run(
    on group: MultiThreadedEventLoopGroup, _ history: inout IDHistory, _ interruption: BenchInterruption,
    _ progress: BenchProgress
  ) async throws -> BenchResult {
    let crews = try await self.crews(on: group, history.highest)
    do {
      try await self.onEach(crews) { $0.lanes.map { $0.connect() } }
    } catch {
      for crew in crews { try await crew.onLoop { for lane in $0.lanes { lane.close() } } }
      throw RPCStatus(.unavailable, "can't connect to \(self.dialer.server): \(RPCClient.reason(error))")
    }
    let start = NIODeadline.now().uptimeNanoseconds
    for crew in crews { try await crew.onLoop { for lane in $0.lanes { lane.begin(at: start) } } }
    interruption.onInterrupt {
      for crew in crews { crew.execute { for lane in $0.lanes { lane.stop() } } }
    }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await self.report(crews, to: progress) }
      try await self.onEach(crews) { $0.lanes.map(\.done) }
      tasks.cancelAll()
    }
    progress.end()
    return try await self.harvest(crews, &history, since: start, isInterrupted: interruption.isInterrupted)
  }

  /// Makes the lanes and spreads them over the event loops.
  private func crews(
    on group: MultiThreadedEventLoopGroup, _ shared: HighestID
  ) async throws -> [LoopBound<Crew>] {
    let template = try RequestTemplate(
      path: self.plan.path, authority: self.dialer.authority, isSecure: self.dialer.isSecure,
      isUnary: !self.plan.isStream, message: self.plan.message)
    let loops = Array(group.makeIterator())
    var crews: [LoopBound<Crew>] = []
    for (position, loop) in loops.enumerated() {
      let indices = Array(stride(from: position, to: self.plan.connections, by: loops.count))
      let plan = self.plan
      let dialer = self.dialer
      let crew = try await loop.submit {
        let recorder = BenchRecorder(plan, shared: shared)
        let lanes = indices.map { index in
          BenchLane(
            plan: plan, template: template, index: index, recorder: recorder, eventLoop: loop, dial: dialer.dial)
        }
        return LoopBound(Crew(recorder: recorder, lanes: lanes), loop)
      }.get()
      crews.append(crew)
    }
    return crews
  }

  /// Waits for a future of every lane.
  private func onEach(
    _ crews: [LoopBound<Crew>], _ body: @escaping @Sendable (Crew) -> [EventLoopFuture<Void>]
  ) async throws {
    for crew in crews {
      for future in try await crew.onLoop(body) { try await future.get() }
    }
  }

  private func report(_ crews: [LoopBound<Crew>], to progress: BenchProgress) async throws {
    guard progress.isOn else { return }
    while !Task.isCancelled {
      do { try await Task.sleep(for: .seconds(1)) } catch { return }
      var sum = BenchRecorder.Progress()
      for crew in crews {
        let part = try await crew.onLoop { $0.recorder.progress }
        sum.calls += part.calls
        sum.ids += part.ids
        sum.errors += part.errors
      }
      progress.tell(sum)
    }
  }

  private func harvest(
    _ crews: [LoopBound<Crew>], _ history: inout IDHistory, since start: UInt64, isInterrupted: Bool
  ) async throws -> BenchResult {
    var record = BenchRecorder.Record()
    var broken = BrokenPromises()
    var logs: [IDLog] = []
    for crew in crews {
      let part = try await crew.onLoop { crew in
        for lane in crew.lanes { lane.close() }
        crew.recorder.checker.meetOthers()
        return Harvest(
          record: crew.recorder.record, broken: crew.recorder.checker.broken, logs: crew.lanes.map(\.log))
      }
      record.add(part.record)
      broken.add(part.broken)
      logs += part.logs
    }
    var distinctness = BenchResult.Distinctness.off
    if self.plan.check != .off {
      let search = history.add(logs)
      distinctness = .searched(
        ids: logs.reduce(0) { $0 + $1.logged }, missed: logs.reduce(0) { $0 + $1.missed },
        duplicates: search.duplicates, examples: search.found)
    }
    return BenchResult(
      server: self.dialer.server.description, plan: self.plan,
      seconds: Double(record.lastEnd > start ? record.lastEnd - start : 0) / 1e9, record: record, broken: broken,
      distinctness: distinctness, isInterrupted: isInterrupted)
  }
}

/// A value that only its event loop touches.
private struct LoopBound<Value>: Sendable {
  private let value: NIOLoopBound<Value>
  private let eventLoop: any EventLoop

  /// Takes a value in; to be called on `eventLoop`.
  init(_ value: Value, _ eventLoop: any EventLoop) {
    self.value = NIOLoopBound(value, eventLoop: eventLoop)
    self.eventLoop = eventLoop
  }

  /// Works with the value on its event loop and waits for the result.
  func onLoop<Result: Sendable>(_ body: @escaping @Sendable (Value) -> Result) async throws -> Result {
    let value = self.value
    return try await self.eventLoop.submit { body(value.value) }.get()
  }

  /// Works with the value on its event loop.
  func execute(_ body: @escaping @Sendable (Value) -> Void) {
    let value = self.value
    self.eventLoop.execute { body(value.value) }
  }
}
