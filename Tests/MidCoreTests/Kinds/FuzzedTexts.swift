import MidTestKit

/// Texts that look like ids and mostly are none: valid ones with a few characters changed, cut or doubled, and noise.
struct FuzzedTexts {
  /// How many texts a test tries.
  static let count = TestCount.texts

  private static let characters = Array(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-{}:*~$=U_ +/.\u{0}\u{7F}\u{e9}\u{130}\u{661}"
      .unicodeScalars)

  private let test: String
  private var random: SplitMix64

  init(_ test: String) {
    self.test = test
    self.random = SplitMix64(seed: SplitMix64.freshSeed(for: test))
  }

  /// Prints how many texts there were and how many of them were read, for who runs the long form.
  func report(_ read: Int) { print("\(self.test): \(Self.count) texts, \(read) of them read") }

  /// A random number of at most `bits` bits, small ones as often as large ones.
  mutating func number(bits: Int) -> UInt128 {
    let number = UInt128(self.random.next()) << 64 | UInt128(self.random.next())
    return number >> UInt128(128 - bits + self.random.below(bits))
  }

  /// `valid` itself, changed in one to three places, or noise of up to 40 characters.
  mutating func text(from valid: String) -> String {
    switch self.random.below(8) {
    case 0: return valid
    case 1:
      let length = self.random.below(41)
      var noise = String.UnicodeScalarView()
      for _ in 0..<length { noise.append(self.character()) }
      return String(noise)
    default:
      var scalars = Array(valid.unicodeScalars)
      for _ in 0...self.random.below(3) {
        let place = self.random.below(scalars.count + 1)
        switch self.random.below(3) {
        case 0: scalars.insert(self.character(), at: place)
        case 1 where place < scalars.count: scalars.remove(at: place)
        case 2 where place < scalars.count: scalars[place] = self.character()
        default: break
        }
      }
      var text = String.UnicodeScalarView()
      text.append(contentsOf: scalars)
      return String(text)
    }
  }

  private mutating func character() -> Unicode.Scalar { Self.characters[self.random.below(Self.characters.count)] }
}
