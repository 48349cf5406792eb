import Foundation
import MidCore
import MidOpaque
import MidTestKit
import Synchronization
import Testing

@Suite("Opaque ids")
struct OpaqueIDsTests {
  private func ids(
    _ tag: String = "orders", bits: Int = 63, slotBits: Int = 0, keys: [Int] = [0], current: Int = 0
  ) throws -> OpaqueIDs<AES> {
    var ciphers: [Int: AES] = [:]
    for key in keys { ciphers[key] = try AES(key: [UInt8](repeating: UInt8(key + 1), count: 32)) }
    return try OpaqueIDs(tag: Tag(tag), bits: bits, slotBits: slotBits, keys: ciphers, currentSlot: current)
  }

  @Test("of a running tag are distinct, positive, open to the original, and look like chance", arguments: [63, 53])
  func running(bits: Int) throws {
    let ids = try self.ids(bits: bits)
    var numbers: [Int64] = []
    numbers.reserveCapacity(TestCount.ids)
    var head = [Int](repeating: 0, count: 64)
    var leading = [Int](repeating: 0, count: 10)
    var trailing = [Int](repeating: 0, count: 10)
    var (sumOfProducts, sumOfSquares) = (0.0, 0.0)
    var last = 0.0
    let middle = Double(Int64(1) << Int64(bits - 1))
    for id in 1...Int64(TestCount.ids) {
      let number = try ids.seal(id)
      if number < 1 || number >> Int64(bits - 1) > 1 { Issue.record("\(number)") }
      if try ids.open(number) != (id, 0) { Issue.record("\(id) became \(number)") }
      numbers.append(number)
      head[Int(number >> Int64(bits - 6))] += 1
      leading[Self.firstDigit(of: number)] += 1
      trailing[Int(number % 10)] += 1
      let place = (Double(number) - middle) / middle
      sumOfProducts += place * last
      sumOfSquares += place * place
      last = place
    }
    numbers.sort()
    #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
    let largest = Int64.max >> Int64(63 - bits)
    let digits = [0] + (1...9).map { Double(Self.count(beginning: $0, upTo: largest)) / Double(largest) }
    // The key is fixed, and so is the outcome for a number of ids. 1 in 10,000 is past the bound.
    for (name, counts, shares, bound) in [
      ("of the first 6 bits", head, [Double](repeating: 1 / 64, count: 64), 113.0),
      ("of the first decimal digit", leading, digits, 31.8),
      ("of the last decimal digit", trailing, [Double](repeating: 1 / 10, count: 10), 33.7),
    ] {
      let (value, freedom) = Self.chiSquared(counts, shares)
      print(
        "\(TestCount.ids) opaque ids of \(bits) bits: chi-squared \(name) \(value), \(freedom) degrees of freedom; "
          + "expected about \(freedom), and below \(bound)")
      #expect(value < bound, "\(name)")
    }
    // The correlation of neighbours has a standard deviation of 1 / √n.
    let correlation = sumOfProducts / sumOfSquares * Double(TestCount.ids).squareRoot()
    print(
      "\(TestCount.ids) opaque ids of \(bits) bits: neighbours' correlation "
        + "\(correlation) standard deviations; expected within 4")
    #expect(abs(correlation) < 4)
  }

  /// Pearson's statistic of counts whose classes have these shares of the whole, and its degrees of freedom. Classes without a
  /// share must be empty.
  private static func chiSquared(_ counts: [Int], _ shares: [Double]) -> (value: Double, freedom: Int) {
    let all = Double(counts.reduce(0, +))
    var value = 0.0
    for (count, share) in zip(counts, shares) where share > 0 || count > 0 {
      let expected = all * share
      value += (Double(count) - expected) * (Double(count) - expected) / expected
    }
    return (value, shares.count { $0 > 0 } - 1)
  }

  private static func firstDigit(of number: Int64) -> Int {
    var rest = number
    while rest >= 10 { rest /= 10 }
    return Int(rest)
  }

  /// How many of the numbers from 1 up to `largest` have `digit` as their first.
  private static func count(beginning digit: Int, upTo largest: Int64) -> Int64 {
    var count: Int64 = 0
    var power: Int64 = 1
    while true {
      let (start, isPast) = Int64(digit).multipliedReportingOverflow(by: power)
      if isPast || start > largest { return count }
      let (end, isPastEnd) = start.addingReportingOverflow(power - 1)
      count += (isPastEnd ? largest : min(end, largest)) - start + 1
      let (next, isLast) = power.multipliedReportingOverflow(by: 10)
      if isLast { return count }
      power = next
    }
  }

  @Test(
    "are the same from many threads as from one, whether each has a context of its own or they wait",
    arguments: [1, 4, 16])
  func threads(contextCount: Int) throws {
    let alone = try self.ids()
    let perThread = 2_000
    let expected = try (1...Int64(perThread)).map { try alone.seal($0) }
    let shared = try OpaqueIDs(
      tag: Tag("orders"), bits: 63, slotBits: 0,
      keys: [0: AES(key: [UInt8](repeating: 1, count: 32), contextCount: contextCount)], currentSlot: 0)
    let lists = Mutex<[[Int64]]>([])
    let group = DispatchGroup()
    for _ in 0..<24 {
      group.enter()
      Thread.detachNewThread {
        do {
          let numbers = try (1...Int64(perThread)).map { try shared.seal($0) }
          lists.withLock { $0.append(numbers) }
        } catch {
          Issue.record(error)
        }
        group.leave()
      }
    }
    group.wait()
    let all = lists.withLock { $0 }
    #expect(all.count == 24 && all.allSatisfy { $0 == expected })
  }

  @Test("of tags, widths and keys that differ have nothing to do with each other")
  func independent() throws {
    let all = try [
      self.ids(), self.ids("order"), self.ids("orders", slotBits: 1), self.ids(slotBits: 1, keys: [1], current: 1),
    ]
    #expect(Set(try all.map { try $0.seal(1) & 0xFFFF_FFFF }).count == all.count)
  }

  @Test("are made with the current key and opened with the key of their slot")
  func rotation() throws {
    let old = try self.ids(slotBits: 2, keys: [0], current: 0)
    let new = try self.ids(slotBits: 2, keys: [0, 3], current: 3)
    for id in [1, 2, 1000, old.largestID] as [Int64] {
      let (before, after) = (try old.seal(id), try new.seal(id))
      #expect(before >> 61 == 0 && after >> 61 == 3)
      #expect(try new.open(before) == (id, 0))
      #expect(try new.open(after) == (id, 3))
      #expect(throws: IDError(.invalidArgument, "\(after) was made with the key of slot 3, which is not here")) {
        try old.open(after)
      }
    }
    #expect(old.largestID == 1 << 61 - 1)
  }

  @Test("are refused where there is none")
  func refusals() throws {
    let ids = try self.ids(bits: 53, slotBits: 1)
    for id in [0, -1] as [Int64] {
      #expect(throws: IDError(.invalidArgument, "only ids above 0 have an opaque number, not \(id)")) {
        try ids.seal(id)
      }
    }
    let error = #expect(throws: IDError.self) { try ids.seal(1 << 52) }
    #expect(error?.code == .exhausted)
    for number in [0, -1, 1 << 53, 1 << 52] as [Int64] {
      #expect(throws: IDError.self, "\(number)") { try ids.open(number) }
    }
    #expect(throws: IDError.self) { try self.ids(bits: 64) }
    #expect(throws: IDError.self) { try self.ids(slotBits: 5) }
    #expect(throws: IDError(.invalidArgument, "a key's slot is 0 to 0, not 1")) { try self.ids(keys: [0, 1]) }
    #expect(throws: IDError.self) { try self.ids(slotBits: 1, current: 1) }
  }

  @Test("never have the number 0, which the id that it belongs to gives up")
  func walksPastZero() throws {
    // With the key, FF1 backwards from 0 tells whose number 0 would be.
    let ids = try self.ids()
    let plain = try FF1(
      AES(key: [UInt8](repeating: 1, count: 32)), radix: 2, length: 63,
      tweak: Array("mid-opaque-1".utf8) + [63, 0] + Array("orders".utf8))
    let unlucky = Int64(try plain.decrypt(0))
    #expect(unlucky > 0)
    let number = try ids.seal(unlucky)
    #expect(number == Int64(try plain.encrypt(0)))
    #expect(try ids.open(number).id == unlucky)
  }

  @Test("opened from any number seal to the same number, or are refused")
  func fuzzed() throws {
    var random = SplitMix64(seed: SplitMix64.freshSeed(for: "opaque numbers"))
    let ids = try self.ids(bits: 53, slotBits: 2, keys: [2], current: 2)
    var opened = 0
    for _ in 0..<TestCount.texts {
      let number = Int64(bitPattern: random.next() >> UInt64(random.below(24)))
      let id: Int64
      do { id = try ids.open(number).id } catch { continue }
      opened += 1
      if try ids.seal(id) != number { Issue.record("\(number)") }
    }
    print("\(TestCount.texts) numbers, \(opened) of them opaque ids of slot 2 and opened")
    #expect(opened > TestCount.texts / 100)
  }
}
