import Foundation
import Testing

/// Holds `docs/http2.md` and the tests together.
@Suite("The table of rules")
struct RuleTableTests {
  private static let repository: URL = {
    let here = URL(filePath: #filePath)
    return (0..<4).reduce(here) { url, _ in url.deletingLastPathComponent() }
  }()

  /// The tests of a file by their names, and all texts in quotes that name cases.
  private struct TestFile {
    var tests: Set<String>
    var text: String
    var isOfRules: Bool
  }

  private static func testFiles() throws -> [String: TestFile] {
    let folder = Self.repository.appending(path: "Tests")
    let found = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    var files: [String: TestFile] = [:]
    while let url = found?.nextObject() as? URL {
      let name = url.deletingPathExtension().lastPathComponent
      guard ["swift", "py"].contains(url.pathExtension) else { continue }
      let text = try String(contentsOf: url, encoding: .utf8)
      var tests = Set(text.matches(of: /func `([^`]+)`/).map { String($0.output.1) })
      tests.formUnion(text.matches(of: /def (test_\w+)/).map { String($0.output.1) })
      guard !tests.isEmpty else { continue }
      let isOfRules = url.deletingLastPathComponent().lastPathComponent == "Rules" && name != "RuleTableTests"
      files[name] = TestFile(tests: tests, text: text, isOfRules: isOfRules)
    }
    return files
  }

  /// What a row says of its tests: `File: name`, with a case in brackets where the test has several.
  private struct Reference {
    var file: String
    var test: String
    var cases: [String]
  }

  private static func rows() throws -> [(line: Int, cells: [String])] {
    let text = try String(contentsOf: Self.repository.appending(path: "docs/http2.md"), encoding: .utf8)
    return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
      guard line.hasPrefix("|"), !line.hasPrefix("| ---"), !line.hasPrefix("| Section ") else { return nil }
      let cells = line.dropFirst().split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      return (number + 1, cells)
    }
  }

  private static func references(_ cell: String) -> [Reference] {
    cell.matches(of: /(\w+): `([^`]+)`((?: \[[^\]]+\])*)/).map { match in
      let cases = String(match.output.3).matches(of: /\[([^\]]+)\]/).map { String($0.output.1) }
      return Reference(file: String(match.output.1), test: String(match.output.2), cases: cases)
    }
  }

  @Test func `names in every row a test that there is, or says that there is nothing to test`() throws {
    let files = try Self.testFiles()
    let rows = try Self.rows()
    #expect(rows.count > 150)
    for row in rows {
      guard row.cells.count == 4 else {
        Issue.record("docs/http2.md:\(row.line): \(row.cells.count) columns, 4 are needed")
        continue
      }
      let references = Self.references(row.cells[3])
      if references.isEmpty { #expect(row.cells[3].hasPrefix("none: "), "docs/http2.md:\(row.line): no test") }
      for reference in references {
        let file = files[reference.file]
        #expect(file != nil, "docs/http2.md:\(row.line): no file \(reference.file)")
        #expect(
          file?.tests.contains(reference.test) == true,
          "docs/http2.md:\(row.line): \(reference.file) has no test “\(reference.test)”")
        for name in reference.cases {
          #expect(
            file?.text.contains("\"\(name)\"") == true,
            "docs/http2.md:\(row.line): \(reference.file) has no case “\(name)”")
        }
      }
    }
  }

  @Test func `has every test of a rule and every case of one in some row`() throws {
    let named = try Self.rows().flatMap { Self.references($0.cells.last ?? "") }
    for (name, file) in try Self.testFiles() where file.isOfRules {
      let ofFile = named.filter { $0.file == name }
      for test in file.tests {
        #expect(ofFile.contains { $0.test == test }, "\(name): “\(test)” is in no row of docs/http2.md")
      }
      let cases = file.text.matches(of: /RuleCase\(\s*"([^"]+)"/).map { String($0.output.1) }
      for label in cases {
        #expect(
          ofFile.contains { $0.cases.contains(label) || $0.cases.contains("all") },
          "\(name): the case “\(label)” is in no row of docs/http2.md")
      }
    }
  }
}
