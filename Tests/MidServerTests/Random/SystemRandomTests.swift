import MidCore
import MidServer
import Testing

@Suite("The system's random bits")
struct SystemRandomTests {
  @Test("come in any number, fill every word, and differ")
  func words() throws {
    for count in [0, 1, 2, 31, 32, 33, 64, 1000] {
      let words = try SystemRandom().words(count)
      #expect(words.count == count)
      // A word that was left out would be 0; by chance that happens once in 2^64.
      #expect(!words.contains(0))
      #expect(Set(words).count == count)
    }
    #expect(try SystemRandom().words(4) != SystemRandom().words(4))
    #expect(try RandomPool(SystemRandom()).next() != RandomPool(SystemRandom()).next())
  }

  @Test("have about as many ones as zeros")
  func balance() throws {
    // 640,000 bits: six standard deviations are 2,400.
    let ones = try SystemRandom().words(10_000).reduce(0) { $0 + $1.nonzeroBitCount }
    #expect(abs(ones - 320_000) < 2400)
  }
}
