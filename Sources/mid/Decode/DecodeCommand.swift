import ArgumentParser
import MidCore
import MidServer

/// `mid decode`: what an id says, without a server.
struct DecodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Say what an id says: kind, time, worker, sequence, version.",
    discussion: """
      Reads Snowflake ids and other numbers (decimal, 0x and hexadecimal, and the fixed widths of base 36, base 62 and \
      Crockford's base 32), UUIDs, ULIDs and ObjectIds, these in the digits of each format of mid next as \
      well. No server is asked. Times are in UTC, as the clock of the id's maker had them.

        mid decode 742137416151572480 --layout original
        mid decode 017f22e2-79b0-7cc3-98c4-dc0c0c07398f
        mid decode --json 507f191e810c19729de860ea | jq -r '.readings[0].time'

      An id does not tell its layout, and some texts may be of two kinds. Then the likeliest reading comes first, the \
      others after it, and a line says why. With --layout and --kind there is nothing to guess.

      Texts of a tag's own form and opaque ids are read with what the server's settings say of them:

        mid decode ORD-20260102-0000000042 --tag orders --form 'ORD-{day}-{decimal:10}'
        mid decode 546675017423410492 --tag orders --key 0=file:orders.key

      Exit codes: 0 it was read, 1 it is no id that is known, 64 the command line is wrong.
      """
  )

  @Argument(help: "The id.")
  var id: String

  @Option(
    help: ArgumentHelp(
      "The layout of Snowflake ids: \(SnowflakeLayout.presets.keys.sorted().joined(separator: ", ")).",
      valueName: "name"))
  var layout: String?

  @Option(
    help: ArgumentHelp(
      "Read it as this kind only: \(IDReader.kinds.joined(separator: ", ")); opaque is the tag's opaque number.",
      valueName: "name"))
  var kind: String?

  @OptionGroup(title: "Texts of a tag") var form: DecodeFormOptions

  @Flag(help: "Print a JSON object. Numbers that may be past 2^53 are strings in it.")
  var json = false

  func validate() throws {
    if let layout = self.layout, SnowflakeLayout.presets[layout] == nil {
      let allowed = SnowflakeLayout.presets.keys.sorted().joined(separator: ", ")
      throw ValidationError("--layout takes \(allowed), not '\(TerminalText.plain(layout))'.")
    }
    if let kind = self.kind, !IDReader.kinds.contains(kind) {
      let allowed = IDReader.kinds.joined(separator: ", ")
      throw ValidationError("--kind takes \(allowed), not '\(TerminalText.plain(kind))'.")
    }
    if self.isOpaque, self.form.tag == nil || self.form.key.isEmpty {
      throw ValidationError("--kind opaque is a tag's opaque number: add --tag NAME and --key SLOT=file:PATH.")
    }
    if self.layout != nil, let kind = self.kind, kind != IDKind.snowflake.rawValue, !self.isOpaque {
      throw ValidationError("--layout is for Snowflake ids: leave out --kind \(kind), or --layout.")
    }
    try self.form.validate()
  }

  private var isOpaque: Bool { self.kind == IDReader.opaque }

  func run() async throws {
    try await CommandOutput.print { output throws in try self.run(at: SystemClock().wallMilliseconds(), into: &output) }
  }

  /// The command at a time, in milliseconds since 1970, printing into `output`.
  func run(at now: Int64, into output: inout OutputBuffer) throws {
    let layout = self.layout.flatMap { name in SnowflakeLayout.presets[name].map { (name: name, layout: $0) } }
    // A layout says that it is a Snowflake id.
    let kind = layout == nil ? self.kind.flatMap { IDKind(rawValue: $0) } : .snowflake
    let report: DecodeReport
    do {
      let opened = try self.form.open(self.id, isNumber: self.isOpaque)
      let decoder = IDDecoder(layout: layout, kind: kind, now: now)
      report = DecodeReport(
        try opened.map { try decoder.decode(number: $0.id) } ?? decoder.decode(self.id), opened: opened)
    } catch let error as IDError {
      throw CommandFailure(error.message)
    }
    for line in self.json ? [report.json] : report.lines { try output.line(line) }
  }
}
