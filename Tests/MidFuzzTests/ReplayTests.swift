import Foundation
import Testing

@Suite("What fuzzing has shown")
struct ReplayTests {
  /// `Fuzzing`, beside `Tests`.
  private static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fuzzing")

  private static func files(of target: FuzzTarget, in name: String) throws -> [URL] {
    let folder = Self.folder.appendingPathComponent(name).appendingPathComponent(target.rawValue)
    guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
    return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .filter { !$0.lastPathComponent.hasPrefix(".") }
      .sorted { $0.lastPathComponent < $1.lastPathComponent }
  }

  private static func run(_ target: FuzzTarget, _ input: Data, _ name: String) {
    do throws(Finding) {
      let outcome = input.withUnsafeBytes { bytes in
        Result { () throws(Finding) in try target.run(bytes) }
      }
      try outcome.get()
    } catch {
      Issue.record("\(target.rawValue), \(name): \(error)")
    }
  }

  @Test(arguments: FuzzTarget.allCases)
  func `every input of the corpus holds all rules`(_ target: FuzzTarget) throws {
    let files = try Self.files(of: target, in: "corpus")
    #expect(!files.isEmpty, "no corpus for \(target.rawValue)")
    for file in files { Self.run(target, try Data(contentsOf: file), file.lastPathComponent) }
  }

  @Test(arguments: FuzzTarget.allCases)
  func `every input that broke a rule once holds it now`(_ target: FuzzTarget) throws {
    for file in try Self.files(of: target, in: "crashers") {
      Self.run(target, try Data(contentsOf: file), file.lastPathComponent)
    }
  }

  @Test(arguments: FuzzTarget.allCases)
  func `random inputs hold all rules`(_ target: FuzzTarget) {
    // The suite's is always the same; the long form looks further.
    let seed: UInt64 =
      ProcessInfo.processInfo.environment["MID_TEST_LONG"] == nil ? 20_261_124 : .random(in: 0 ... .max)
    var random = SplitMix64(seed: seed)
    for round in 0..<300 {
      // Few different bytes make for more conversations that go on for long.
      let most = [3, 15, 255].randomElement(using: &random) ?? 255
      let count = Int.random(in: 0...250, using: &random)
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: Int.random(in: 0...most, using: &random)) }
      Self.run(target, Data(bytes), "seed \(seed), round \(round)")
    }
  }
}
