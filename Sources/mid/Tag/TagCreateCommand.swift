import ArgumentParser
import MidCore

/// `mid tag create`: a new tag.
struct TagCreateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create",
    abstract: "Create a tag.",
    discussion: """
      Makes a SQLite store that is missing. Fails where the tag is there already, and changes nothing then.

        mid tag create orders
        mid tag create invoices --first 5000000 --step 1000
      """
  )

  @Argument(help: "The tag: 1 to 128 bytes of UTF-8.")
  var name: String

  @Option(help: "How many ids a server takes from the store at a time, at least.")
  var step: Int64 = 10_000

  @Option(help: "The first id, 1 or more.")
  var first: Int64 = 1

  @OptionGroup var store: SegmentOptions

  func validate() throws {
    _ = try TagArgument.tag(self.name)
    try TagArgument.check(self.step, "--step")
    try TagArgument.check(self.first, "--first")
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let tag = try TagArgument.tag(self.name)
    let record = try await self.store.withSegments(create: true) { store throws(IDError) in
      try await store.createTag(tag, step: self.step, first: self.first)
    }
    try output.line("created tag \(record.tag): first id \(TagTable.next(record)), step \(record.step)")
  }
}
