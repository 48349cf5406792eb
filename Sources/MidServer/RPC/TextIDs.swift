package import MidCore
import NIOCore

/// A kind of ids that is wider than 64 bits and goes out as a text.
package enum TextMode: String, Sendable, Hashable, CaseIterable {
  /// RFC 9562, version 1.
  case uuid1
  /// RFC 9562, version 4.
  case uuid4
  /// RFC 9562, version 6.
  case uuid6
  /// RFC 9562, version 7.
  case uuid7
  /// MongoDB's.
  case objectid
  /// Crockford's base 32.
  case ulid

  /// Whether ids of this kind are in the order of their making while the clock is well.
  var isOrdered: Bool {
    switch self {
    case .uuid7, .objectid, .ulid: true
    case .uuid1, .uuid4, .uuid6: false
    }
  }
}

/// Makes the ids that go out as texts. Safe to use from any thread; never waits.
package final class TextIDs: Sendable {
  /// The most ids of one batch: 400 KB of texts.
  static let maximumBatch: Int64 = 10_000

  let uuids: UUIDGenerator
  let ulids: ULIDGenerator
  let objectIDs: ObjectIDGenerator

  /// Creates the generators, which read `clock` and share what they draw from `random`.
  ///
  /// - Parameters:
  ///   - increment: how UUIDs of version 7 go on within a millisecond.
  ///   - onClockReturn: is told where ids of a mode that promises an order follow the clock back, and by how much.
  package init(
    increment: UUID7Increment, clock: any TimeSource, random: any RandomSource,
    onClockReturn: @escaping @Sendable (_ mode: TextMode, _ by: Duration) -> Void = { _, _ in }
  ) {
    let pool = RandomPool(random)
    self.uuids = UUIDGenerator(increment: increment, clock: clock, random: pool) { onClockReturn(.uuid7, $0) }
    self.ulids = ULIDGenerator(clock: clock, random: pool) { onClockReturn(.ulid, $0) }
    self.objectIDs = ObjectIDGenerator(clock: clock, random: pool) { onClockReturn(.objectid, $0) }
  }

  /// The next id of a kind, in its canonical text.
  ///
  /// - Throws: What the generators of ``MidCore`` throw.
  package func next(_ mode: TextMode) throws(IDError) -> String {
    switch mode {
    case .uuid1: try self.uuids.version1().description
    case .uuid4: try self.uuids.version4().description
    case .uuid6: try self.uuids.version6().description
    case .uuid7: try self.uuids.version7().description
    case .objectid: try self.objectIDs.next().description
    case .ulid: try self.ulids.next().description
    }
  }
}
