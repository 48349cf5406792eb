import Foundation
import Testing

@testable import MidServer

@Suite("The documentation")
struct DocumentationTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// The page as the program would write it: a head, and the table made from the code.
  private static let pages = [
    (
      "docs/settings.md",
      """
      # Settings

      Flags win over `MID_…` variables, those over the YAML file of `--config` (or `MID_CONFIG`), that over the defaults. In
      the file a setting stands under its key, nested at the dots (`grpc:` and, indented, `address: 127.0.0.1:50051`).
      Every error is told at once, with where it stands, and unknown names are errors. `mid serve --list-settings` prints
      the same.

      \(Settings.markdownTable)

      """
    ),
    (
      "docs/metrics.md",
      """
      # Metrics

      At `/metrics` on port 9190, in the Prometheus text format. The first four are the Go original's, names, labels and
      units; `ntp_offset_milliseconds` and `mid_ntp_offset_seconds` are there while an NTP server answers.

      \(MetricCatalogue.markdownTable)

      """
    ),
  ]

  @Test(
    "lists every setting and metric as the code has them; MID_UPDATE_DOCS=1 writes it anew",
    arguments: Self.pages)
  func isInStep(_ path: String, _ text: String) throws {
    let file = Self.root.appending(path: path)
    if ProcessInfo.processInfo.environment["MID_UPDATE_DOCS"] == "1" {
      try Data(text.utf8).write(to: file)
    }
    let found = String(decoding: try Data(contentsOf: file), as: UTF8.self)
    #expect(found == text, "\(path) is not what the code says; run the tests once with MID_UPDATE_DOCS=1")
  }
}
