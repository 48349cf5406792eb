import MidCore
import MidTestKit
import Synchronization
import Testing

/// A generator whose loads and answers a test sees and steers by hand.
final class SegmentHarness: Sendable {
  static let unavailable = IDError(.storeUnavailable, "connection refused")

  private struct Seen: Sendable {
    var loads: [SegmentLoad] = []
    var answers: [Int: Result<[IDRange], IDError>] = [:]
    var order: [Int] = []
  }

  private let seen: Mutex<Seen>
  let generator: SegmentGenerator
  let clock: ManualClock

  init(step: Int64 = 10, stride: Int64 = 1, settings: SegmentSettings = SegmentSettings()) throws {
    let box = LoadBox()
    let clock = ManualClock(wallMilliseconds: 0)
    self.clock = clock
    self.generator = try SegmentGenerator(tag: .default, step: step, stride: stride, settings: settings, clock: clock) {
      box.append($1)
    }
    self.box = box
    self.seen = Mutex(Seen())
  }

  private let box: LoadBox

  private final class LoadBox: Sendable {
    let loads = Mutex<[SegmentLoad]>([])
    func append(_ load: SegmentLoad) { self.loads.withLock { $0.append(load) } }
  }

  /// The counts of all loads asked for so far.
  var loads: [Int64] { self.box.loads.withLock { $0.map(\.count) } }

  /// Asks for `count` ids in the name of `call`.
  @discardableResult
  func call(_ call: Int, count: Int64 = 1) -> WaiterID? {
    let result = self.generator.enqueue(count: count) { answer in
      self.seen.withLock { seen in
        #expect(seen.answers[call] == nil, "call \(call) was answered twice")
        seen.answers[call] = answer
        seen.order.append(call)
      }
    }
    if case .waiting(let id) = result { return id }
    #expect(self.answer(call) != nil, "an answered call has its answer")
    return nil
  }

  func answer(_ call: Int) -> Result<[IDRange], IDError>? { self.seen.withLock { $0.answers[call] } }
  func ids(_ call: Int) -> [Int64]? {
    guard case .success(let ranges) = self.answer(call) else { return nil }
    return ranges.flatMap(\.ids)
  }
  func error(_ call: Int) -> IDError? {
    guard case .failure(let error) = self.answer(call) else { return nil }
    return error
  }
  var order: [Int] { self.seen.withLock { $0.order } }

  @discardableResult
  func load(_ start: Int64, _ count: Int64, stride: Int64 = 1) -> IDRange? {
    self.generator.loaded(IDRange(start: start, count: count, stride: stride))
  }
}
