import MidCore
import Testing

@testable import MidServer

@Suite("Request keys")
struct RequestKeyTests {
  private typealias Machine = RequestKeyStateMachine<Int>
  private let request = Machine.Request(mode: .segment, tag: .default, count: 5)
  private let ranges = [IDRange(start: 1, count: 3), IDRange(start: 10, count: 2)]

  private func isFirst(_ begin: Machine.Begin) -> Bool { if case .first = begin { true } else { false } }
  private func isFull(_ begin: Machine.Begin) -> Bool { if case .full = begin { true } else { false } }
  private func isConflict(_ begin: Machine.Begin) -> Bool { if case .conflict = begin { true } else { false } }
  private func again(_ begin: Machine.Begin) -> [IDRange]? {
    if case .again(let ranges) = begin { ranges } else { nil }
  }

  @Test func `give a retry the same ranges for ten minutes, and then new ones`() {
    var keys = Machine()
    #expect(self.isFirst(keys.begin([1], self.request, reply: 1, now: 0)))
    #expect(keys.finish([1], ranges: self.ranges, now: 100) == [])
    #expect(self.again(keys.begin([1], self.request, reply: 2, now: 100 + Machine.lifetime - 1)) == self.ranges)
    #expect(keys.used == 3)
    #expect(self.isFirst(keys.begin([1], self.request, reply: 3, now: 100 + Machine.lifetime)))
    #expect(keys.used == 1)
  }

  @Test func `let a retry wait for a first call that is still under way`() {
    var keys = Machine()
    #expect(self.isFirst(keys.begin([1], self.request, reply: 1, now: 0)))
    for reply in 2...3 {
      guard case .waits = keys.begin([1], self.request, reply: reply, now: 1) else {
        Issue.record("the retry does not wait")
        return
      }
    }
    #expect(keys.finish([1], ranges: self.ranges, now: 2) == [2, 3])
    #expect(keys.finish([1], ranges: self.ranges, now: 2) == [])
    #expect(keys.used == 3)
  }

  @Test func `are forgotten where the call failed, which those who waited hear of`() {
    var keys = Machine()
    #expect(self.isFirst(keys.begin([1], self.request, reply: 1, now: 0)))
    _ = keys.begin([1], self.request, reply: 2, now: 0)
    #expect(keys.fail([1]) == [2])
    #expect(keys.used == 0)
    #expect(self.isFirst(keys.begin([1], self.request, reply: 3, now: 0)))
  }

  @Test func `refuse another request under a key in use`() {
    var keys = Machine()
    #expect(self.isFirst(keys.begin([1], self.request, reply: 1, now: 0)))
    var other = self.request
    other.count = 6
    #expect(self.isConflict(keys.begin([1], other, reply: 2, now: 0)))
    _ = keys.finish([1], ranges: self.ranges, now: 0)
    #expect(self.isConflict(keys.begin([1], other, reply: 2, now: 0)))
    other = self.request
    other.mode = .snowflake
    other.tag = nil
    #expect(self.isConflict(keys.begin([1], other, reply: 2, now: 0)))
    #expect(self.isFirst(keys.begin([2], other, reply: 2, now: 0)))
  }

  @Test func `refuse a new key where there is no room, rather than drop one that counts`() {
    var keys = Machine()
    let many = [IDRange](repeating: IDRange(start: 1, count: 1), count: 99)
    for index in 0..<2000 {
      let key = [UInt8(index & 255), UInt8(index >> 8)]
      #expect(self.isFirst(keys.begin(key, self.request, reply: 0, now: UInt64(index))))
      _ = keys.finish(key, ranges: many, now: UInt64(index))
    }
    #expect(keys.used == Machine.capacity)
    #expect(self.isFull(keys.begin([9, 9, 9], self.request, reply: 0, now: 2000)))
    #expect(self.again(keys.begin([0, 0], self.request, reply: 0, now: 2000)) == many)
    // The first 500 have ended.
    #expect(self.isFirst(keys.begin([9, 9, 9], self.request, reply: 0, now: Machine.lifetime + 499)))
    #expect(keys.used == Machine.capacity - 500 * 100 + 1)
    // All of them have.
    _ = keys.fail([9, 9, 9])
    #expect(self.isFirst(keys.begin([8], self.request, reply: 0, now: .max)))
    #expect(keys.used == 1)
  }
}
