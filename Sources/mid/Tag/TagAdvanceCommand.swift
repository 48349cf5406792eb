import ArgumentParser
import MidCore

/// `mid tag advance`: the way out where a table went backwards.
struct TagAdvanceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "advance",
    abstract: "Move a tag's next id past one that was given out.",
    discussion: """
      For a database that came back from a backup, or a replica that took over and had lost a commit: servers that \
      had received higher ids refuse the tag with DATA_LOSS and name the number. Forward only: a tag that stands \
      higher already stays as it is, so the command can be given once for each server that complains. Then \
      send each server SIGHUP: it reads the row and takes the tag up again.

      With --stripes, every row that stands lower is moved. Where a database does not answer, the others' rows are moved \
      all the same, the exit code is 1, and the command has to be given again once it is back.

        mid tag advance orders --past 4999999
      """
  )

  @Argument(help: "The tag.")
  var name: String

  @Option(help: "The highest id that may have been given out: 0 or more.")
  var past: Int64

  @OptionGroup var store: SegmentOptions

  func validate() throws {
    _ = try TagArgument.tag(self.name)
    guard (0...Int64.max - 2).contains(self.past) else {
      throw ValidationError("--past takes a number from 0 to \(Int64.max - 2), not \(self.past).")
    }
  }

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let tag = try TagArgument.tag(self.name)
    let done = try await self.store.withSegments(create: false) { store throws(IDError) in
      if let stripes = store as? StripedStore { return try await stripes.advanceTag(tag, past: self.past) }
      do throws(IDError) {
        let record = try await store.updateTag(tag, step: nil, next: self.past + 1)
        return StripedStore.Advance(record: record, isMoved: true)
      } catch {
        // It stands there or higher; a node may have moved it this very moment.
        guard error.code == .wentBackwards else { throw error }
        return StripedStore.Advance(record: try await store.updateTag(tag, step: nil, next: nil), isMoved: false)
      }
    }
    let what = done.isMoved ? "next id" : "unchanged, it stands higher: next id"
    try output.line("tag \(tag): \(what) \(TagTable.next(done.record))")
    guard !done.failures.isEmpty else { return }
    try output.flush()
    throw CommandFailure(
      done.failures.map(\.message).joined(separator: "; ") + ": give the command again once this is mended")
  }
}
