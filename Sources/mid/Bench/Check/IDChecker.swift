import MidServer
import Synchronization

/// The largest id that any event loop has seen, of a run and of those before it that asked for the same kind of ids.
final class HighestID: Sendable {
  private let value = Atomic<Int64>(0)

  /// Takes in the largest id of one event loop and returns that of all.
  func merge(_ id: Int64) -> Int64 {
    self.value.max(id, ordering: .acquiringAndReleasing).newValue
  }
}

/// Looks at every reply as it comes. One for each event loop.
///
/// The order that is checked is the one a node promises: an id is larger than every id that had been answered when its
/// call was sent (``CallTicket/floor``), whichever connections the two calls were on. It holds for one node; over
/// several it is not promised. Replies on one connection may overtake each other without breaking it.
struct IDChecker: Sendable {
  let check: BenchPlan.Check
  private let batch: Int?
  private(set) var broken = BrokenPromises()
  /// The largest id seen by this event loop, or by another one when it was last asked.
  private(set) var highest: Int64 = 0
  private let shared: HighestID

  /// Creates a checker for a plan's replies; `shared` is that of all event loops.
  init(_ plan: BenchPlan, shared: HighestID) {
    self.check = plan.check
    self.batch = plan.batch
    self.shared = shared
  }

  /// Learns what the other event loops have seen, and tells them. To be called before requests are sent.
  mutating func meetOthers() {
    if self.check == .all { self.highest = self.shared.merge(self.highest) }
  }

  /// Reads a reply; returns how many ids were looked at: those that it holds, of a batch as many as were asked for at most.
  @inline(__always)
  mutating func take(_ message: UnsafeRawBufferPointer, floor: Int64, log: inout IDLog) -> Int {
    guard let batch = self.batch else { return self.takeOne(message, floor, &log) }
    return self.takeBatch(message, batch, floor, &log)
  }

  /// `pb.IDResponse` and `mid.v1.GenerateIDResponse` both have the id as field 1.
  @inline(__always)
  private mutating func takeOne(_ message: UnsafeRawBufferPointer, _ floor: Int64, _ log: inout IDLog) -> Int {
    let id: Int64
    do throws(ProtobufError) {
      id = try IDResponse(decoding: message).id
    } catch {
      self.broken.add(malformed: "a reply can't be read: \(error)")
      return 0
    }
    self.look(id, id, floor, &log)
    return 1
  }

  @inline(never)
  private mutating func takeBatch(
    _ message: UnsafeRawBufferPointer, _ batch: Int, _ floor: Int64, _ log: inout IDLog
  ) -> Int {
    let ranges: [IDRangeMessage]
    do throws(ProtobufError) {
      ranges = try GenerateBatchResponse(decoding: message).ranges
    } catch {
      self.broken.add(malformed: "a reply can't be read: \(error)")
      return 0
    }
    // A reply has at most a few million ranges, so that the sum of their 32-bit counts fits.
    let total = ranges.reduce(0) { $0 + Int($1.count) }
    if total != batch { self.broken.add(malformed: "a reply held \(total) ids instead of \(batch)") }
    // A few bytes can claim billions of ids. The time and the memory of looking are for those that were asked for.
    var left = batch
    var floor = floor
    for range in ranges where range.count > 0 {
      guard left > 0 else { break }
      guard Self.canBe(range) else {
        self.broken.add(malformed: "a range of \(range.count) ids from \(range.start) by \(range.stride) can't be")
        continue
      }
      let count = min(Int(range.count), left)
      left -= count
      let last = range.start + range.stride * Int64(count - 1)
      if range.stride == 1 || count == 1 {
        self.look(range.start, last, floor, &log)
      } else {
        var below = floor
        for id in stride(from: range.start, through: last, by: Int(range.stride)) {
          self.look(id, id, below, &log)
          below = max(below, id)
        }
      }
      floor = max(floor, last)
    }
    return batch - left
  }

  /// Whether a range, of one id or more, grows and ends within the 64 bits of an id.
  private static func canBe(_ range: IDRangeMessage) -> Bool {
    guard range.count > 1 else { return true }
    let (length, isTooLong) = range.stride.multipliedReportingOverflow(by: Int64(range.count - 1))
    return range.stride >= 1 && !isTooLong && !range.start.addingReportingOverflow(length).overflow
  }

  /// Looks at the ids from `first` to `last`.
  @inline(__always)
  private mutating func look(_ first: Int64, _ last: Int64, _ floor: Int64, _ log: inout IDLog) {
    guard first > 0 else { return self.broken.add(notPositive: first) }
    if first <= floor && self.check == .all { self.broken.add(outOfOrder: first, floor: floor) }
    self.highest = max(self.highest, last)
    if self.check != .off { log.append(first, last) }
  }
}
