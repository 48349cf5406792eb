/// Numbers that stand for ids outside, and tell nobody who has no key which id, how many, or which comes next.
///
/// ```
///  63   62        62-s  61-s                             0
/// ┌──┬──────────────┬──────────────────────────────────────┐
/// │ 0│ key slot    s│ FF1 of the id              63 - s    │    53 bits in all: the same, ten bits shorter
/// └──┴──────────────┴──────────────────────────────────────┘
/// ```
/// Inside, ids stay as they are, in order for the index of a table. For each tag and key this is a permutation of the numbers
/// from 1, so two ids never get one number, and 0 is never given out (it is walked past: the image of 0 takes its place).
///
/// A key is changed by putting a new one into another slot: the slot stands in the number, in clear, so that numbers of
/// different keys are never the same, and older ones can still be opened. Without slot bits there is one key for good.
/// What is hidden is hidden as well as the key is, and the tag is no secret. It is no signature: any number opens to something.
///
/// A value; safe to use from any thread. Source: ``FF1``, NIST SP 800-38G; cycle walking: Black and Rogaway (2002).
public struct OpaqueIDs<Cipher: BlockCipher>: Sendable {
  /// How many bits a number has: 63, or 53 for JavaScript.
  public let bits: Int
  /// How many of these tell the key: 0 to 4.
  public let slotBits: Int
  /// The slot of the key that new numbers are made with.
  public let currentSlot: Int

  private let permutations: [Int: FF1<Cipher>]
  private let current: FF1<Cipher>

  /// Prepares the numbers of a tag.
  ///
  /// - Parameters:
  ///   - tag: whose ids; the same id of another tag gets another number.
  ///   - bits: 63 or 53.
  ///   - slotBits: 0 to 4: room for 1 to 16 keys over time. Not to be changed once numbers are out.
  ///   - keys: AES under the key of each slot, 0 up to, not including, 2^`slotBits`.
  ///   - currentSlot: the slot of the key that new numbers are made with.
  /// - Throws: ``IDError/Code/invalidArgument`` with the bound that is not kept.
  public init(tag: Tag, bits: Int, slotBits: Int, keys: [Int: Cipher], currentSlot: Int) throws(IDError) {
    guard bits == 63 || bits == 53 else {
      throw IDError(.invalidArgument, "opaque ids have 63 or 53 bits, not \(bits)")
    }
    guard (0...4).contains(slotBits) else {
      throw IDError(.invalidArgument, "opaque ids have 0 to 4 bits for the key's slot, not \(slotBits)")
    }
    let slots = 0..<(1 << slotBits)
    for slot in keys.keys.sorted() where !slots.contains(slot) {
      throw IDError(.invalidArgument, "a key's slot is 0 to \(slots.upperBound - 1), not \(slot)")
    }
    // What the numbers depend on is in the tweak, so that no two settings share a permutation.
    let tweak = Array("mid-opaque-1".utf8) + [UInt8(bits), UInt8(slotBits)] + Array(tag.name.utf8)
    var permutations: [Int: FF1<Cipher>] = [:]
    for (slot, cipher) in keys {
      permutations[slot] = try FF1(cipher, radix: 2, length: bits - slotBits, tweak: tweak)
    }
    guard let current = permutations[currentSlot] else {
      throw IDError(.invalidArgument, "there is no key in slot \(currentSlot), which new numbers are to be made with")
    }
    self.bits = bits
    self.slotBits = slotBits
    self.currentSlot = currentSlot
    self.permutations = permutations
    self.current = current
  }

  /// The largest id that has a number.
  public var largestID: Int64 { .max >> Int64(63 - self.bits + self.slotBits) }

  /// The number that stands for an id outside, above 0. Ten calls of the cipher.
  ///
  /// - Parameter id: 1 to ``largestID``.
  /// - Throws: ``IDError/Code/exhausted`` where the id is past it, ``IDError/Code/invalidArgument`` where it is below 1.
  public func seal(_ id: Int64) throws(IDError) -> Int64 {
    guard id >= 1 else { throw IDError(.invalidArgument, "only ids above 0 have an opaque number, not \(id)") }
    guard id <= self.largestID else {
      throw IDError(.exhausted, "ids up to \(self.largestID) have an opaque number, \(id) has none")
    }
    var image = try self.current.encrypt(UInt128(id))
    if image == 0 { image = try self.current.encrypt(0) }
    return Int64(self.currentSlot) << Int64(self.bits - self.slotBits) | Int64(image)
  }

  /// The id that a number stands for, and the slot of the key it was made with. Ten calls of the cipher.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where the number is none, or the slot has no key.
  public func open(_ number: Int64) throws(IDError) -> (id: Int64, slot: Int) {
    guard number >= 1, self.bits == 63 || number >> Int64(self.bits) == 0 else {
      throw IDError(.invalidArgument, "\(number) is no opaque id of \(self.bits) bits")
    }
    let slot = Int(number >> Int64(self.bits - self.slotBits))
    guard let permutation = self.permutations[slot] else {
      throw IDError(.invalidArgument, "\(number) was made with the key of slot \(slot), which is not here")
    }
    let image = UInt128(number & self.largestID)
    guard image != 0 else { throw IDError(.invalidArgument, "\(number) is no opaque id: its slot has no number 0") }
    var id = try permutation.decrypt(image)
    if id == 0 { id = try permutation.decrypt(0) }
    return (Int64(id), slot)
  }
}
