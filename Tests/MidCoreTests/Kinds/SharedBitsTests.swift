import MidTestKit
import Testing

@testable import MidCore

/// The same of both ways to share 128 bits: the one that this machine's generators use, and the one for machines that
/// can't.
@Suite("128 bits that threads share")
struct SharedBitsTests {
  private final class Box<Bits: BitsSharing & ~Copyable>: Sendable {
    let bits: Bits
    init(_ bits: UInt128) { self.bits = Bits(bits) }
    var value: UInt128 {
      get throws(IDError) { try self.bits.update { bits throws(IDError) in (bits, bits) } }
    }
  }

  @Test("lose no step, also where it carries from one half into the other")
  func counts() throws {
    try self.counted(LockedBits.self)
    #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
      try self.counted(ExchangedBits.self)
    #endif
  }

  private func counted<Bits: BitsSharing & ~Copyable>(_: Bits.Type) throws {
    let box = Box<Bits>(1 << 64 - 100_000)
    let seen = Collected<[UInt128]>()
    onThreads(8) { _ in
      do {
        seen.append(
          try (0..<25_000).map { _ in try box.bits.update { bits throws(IDError) in (bits + 1, bits) } })
      } catch {
        Issue.record(error)
      }
    }
    #expect(try box.value == 1 << 64 + 100_000)
    #expect(Set(seen.all.joined()).count == 200_000)
  }

  @Test("stay as they were where the rule throws")
  func failures() throws {
    try self.failed(LockedBits.self)
    #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
      try self.failed(ExchangedBits.self)
    #endif
  }

  private func failed<Bits: BitsSharing & ~Copyable>(_: Bits.Type) throws {
    let box = Box<Bits>(.max - 5)
    #expect(throws: IDError(.exhausted, "no more")) {
      try box.bits.update { _ throws(IDError) -> (bits: UInt128, result: Int) in throw IDError(.exhausted, "no more") }
    }
    #expect(try box.value == .max - 5)
  }

  @Test("carry version 7 from 8 threads: distinct, and increasing in each", arguments: UUID7Increment.allCases)
  func version7(increment: UUID7Increment) throws {
    try self.version7(LockedBits.self, increment)
    #if _hasAtomicBitWidth(_128) && _pointerBitWidth(_64)
      try self.version7(ExchangedBits.self, increment)
    #endif
  }

  private func version7<Bits: BitsSharing & ~Copyable>(_: Bits.Type, _ increment: UUID7Increment) throws {
    let box = Box<Bits>(UUID7StateMachine(increment: increment).bits)
    let seed = SplitMix64.freshSeed(for: "shared bits, \(Bits.self), \(increment)")
    let collected = Collected<[UUIDValue]>()
    onThreads(8) { thread in
      var random = SplitMix64(seed: seed &+ UInt64(thread))
      var values: [UUIDValue] = []
      do {
        for index in 0..<5_000 {
          let bits = UInt128(random.next()) << 64 | UInt128(random.next())
          let now = 1_645_557_742_000 + Int64(index / 100) - Int64(random.below(3))
          values.append(
            try box.bits.update { state throws(IDError) in
              var machine = UUID7StateMachine(increment: increment, bits: state)
              let value = try machine.next(at: now, random: bits)
              return (machine.bits, value)
            })
        }
      } catch {
        Issue.record(error)
      }
      collected.append(values)
    }
    for list in collected.all { #expect(zip(list, list.dropFirst()).allSatisfy { $0 < $1 }) }
    #expect(Set(collected.all.joined()).count == 40_000)
  }
}
