import ArgumentParser
import MidCore

/// `mid tag set`: a tag's step and next id.
struct TagSetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set",
    abstract: "Change a tag's step, or move its next id forward.",
    discussion: """
      A tag never goes backwards: ids given out once must not come again. Running servers use up the ranges they hold \
      before they see the change.

        mid tag set orders --step 100000
        mid tag set orders --next 5000000    (after importing rows up to 4999999)
      """
  )

  @Argument(help: "The tag.")
  var name: String

  @Option(help: "How many ids a server takes from the store at a time, at least.")
  var step: Int64?

  @Option(help: "The first id of the next range. Has to lie above every id given out.")
  var next: Int64?

  @OptionGroup var store: SegmentOptions

  func validate() throws {
    _ = try TagArgument.tag(self.name)
    guard self.step != nil || self.next != nil else {
      throw ValidationError("Nothing to set: give --step, --next or both.")
    }
    if let step = self.step { try TagArgument.check(step, "--step") }
    if let next = self.next { try TagArgument.check(next, "--next") }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let tag = try TagArgument.tag(self.name)
    let record = try await self.store.withSegments(create: false) { store throws(IDError) in
      try await store.updateTag(tag, step: self.step, next: self.next)
    }
    try output.line("tag \(record.tag): next id \(TagTable.next(record)), step \(record.step)")
  }
}
