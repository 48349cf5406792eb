import Foundation
import MidCore
import Testing

@testable import MidServer

@Suite("The ends of segments that a data folder remembers")
struct SegmentMarksTests {
  private func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "mid-marks-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await body(folder.path)
  }

  private func file(_ folder: String) -> String { "\(folder)/segments.state" }

  @Test func `are there again after a restart, the last one of a tag counting, up or down`() async throws {
    try await self.withFolder { folder in
      let spaced = try Tag("a b  c")
      let marks = SegmentMarks(try SegmentMarkFile(folder: folder))
      #expect(marks.found == StripedStore.Marks())
      try await marks.set(101, of: .default)
      try await marks.set(.max, of: spaced)
      try await marks.set(42, of: .default)
      #expect(try SegmentMarkFile(folder: folder).marks.ends == [.default: 42, spaced: .max])
    }
  }

  @Test func `go down with ids that go back, but not where more has come meanwhile`() async throws {
    try await self.withFolder { folder in
      let first = SegmentMarks(try SegmentMarkFile(folder: folder))
      try await first.set(63, of: .default)
      let marks = SegmentMarks(try SegmentMarkFile(folder: folder))
      func now() throws -> Int64? { try SegmentMarkFile.read(self.file(folder)).ends[.default] }
      try await marks.lower(to: 57, givingBackBelow: 63, of: .default)
      #expect(try now() == 57)
      try await marks.raise(to: 63, of: .default)
      #expect(try now() == 63)
      try await marks.set(75, of: .default)
      try await marks.lower(to: 57, givingBackBelow: 63, of: .default)
      #expect(try now() == 75)
      try await marks.raise(to: 63, of: .default)
      #expect(try now() == 75)
    }
  }

  @Test func `know each database's row of a tag, whatever its name`() async throws {
    try await self.withFolder { folder in
      let marks = SegmentMarks(try SegmentMarkFile(folder: folder))
      let spaced = try Tag("a b  c")
      try await marks.set(7, of: .default)
      try await marks.set(5, of: .default, in: "db1:3306/ids")
      try await marks.set(6, of: spaced, in: "/a folder/100%\n.db")
      try await marks.set(4, of: .default, in: "db1:3306/ids")
      let expected = StripedStore.Marks(
        ends: [.default: 7], rows: [.default: ["db1:3306/ids": 4], spaced: ["/a folder/100%\n.db": 6]])
      #expect(try SegmentMarkFile(folder: folder).marks == expected)
      // Once more, from the file that the line above has written anew.
      #expect(try SegmentMarkFile(folder: folder).marks == expected)
    }
  }

  @Test func `leave out a line that a power cut has torn, and only that`() async throws {
    try await self.withFolder { folder in
      let marks = SegmentMarks(try SegmentMarkFile(folder: folder))
      try await marks.set(101, of: .default)
      try await marks.set(202, of: .default)
      let text = try String(contentsOfFile: self.file(folder), encoding: .utf8)
      #expect(text.split(separator: "\n").count == 2)
      for cut in 1..<30 {
        try String(text.dropLast(cut)).write(toFile: self.file(folder), atomically: false, encoding: .utf8)
        let ends = try SegmentMarkFile(folder: folder).marks.ends
        #expect(ends[.default] == (cut == 1 ? 202 : 101), "\(cut) bytes less")
      }
      try text.replacing("101", with: "901").write(toFile: self.file(folder), atomically: false, encoding: .utf8)
      #expect(try SegmentMarkFile(folder: folder).marks.ends == [.default: 202])
    }
  }

  @Test func `do not grow without end, and many at once are written together`() async throws {
    try await self.withFolder { folder in
      let marks = SegmentMarks(try SegmentMarkFile(folder: folder))
      let tags = try (0..<8).map { try Tag("tag\($0)") }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for tag in tags {
          group.addTask { for end in 1...1000 { try await marks.set(Int64(end), of: tag) } }
        }
        try await group.waitForAll()
      }
      let size = try FileManager.default.attributesOfItem(atPath: self.file(folder))[.size] as? Int ?? .max
      #expect(size < 2100 * 40)
      #expect(
        try SegmentMarkFile(folder: folder).marks.ends == Dictionary(uniqueKeysWithValues: tags.map { ($0, 1000) }))
    }
  }

  @Test func `in a folder that can't be written are an error that says what to do`() async throws {
    try await self.withFolder { folder in
      let error = #expect(throws: IDError.self) { _ = try SegmentMarkFile(folder: "\(folder)/missing") }
      #expect(error?.code == .storeRejected)
      #expect(error?.message.contains("set data.directory") == true)
    }
  }
}
