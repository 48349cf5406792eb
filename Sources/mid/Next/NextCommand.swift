import ArgumentParser
import MidCore
import MidRPC
import MidServer

/// A kind of ids that are numbers, as the command line names it.
enum ModeArgument: String, ExpressibleByArgument, CaseIterable, Sendable {
  case snowflake
  case segment
  case ticket
}

/// A kind of ids that `mid next` can ask for: numbers, or texts.
enum NextMode: ExpressibleByArgument, CaseIterable, Equatable, Sendable {
  case number(ModeArgument)
  case text(TextMode)
  case named(NameMode)

  static let allCases =
    ModeArgument.allCases.map { NextMode.number($0) } + TextMode.allCases.map { NextMode.text($0) }
    + NameMode.allCases.map { NextMode.named($0) }

  init?(argument: String) {
    if let mode = ModeArgument(rawValue: argument) {
      self = .number(mode)
    } else if let mode = TextMode(rawValue: argument) {
      self = .text(mode)
    } else if let mode = NameMode(rawValue: argument) {
      self = .named(mode)
    } else {
      return nil
    }
  }

  static var allValueStrings: [String] { Self.allCases.map(\.name) }
  var defaultValueDescription: String { self.name }

  /// As the wire has it.
  var name: String {
    switch self {
    case .number(let mode): mode.rawValue
    case .text(let mode): mode.rawValue
    case .named(let mode): mode.rawValue
    }
  }
}

/// `mid next`: ids from a server, for people and scripts.
struct NextCommand: AsyncParsableCommand {
  /// The most ids one run asks for.
  static let maximumCount = 1_000_000_000

  static let configuration = CommandConfiguration(
    commandName: "next",
    abstract: "Ask a server for ids.",
    discussion: """
      Without arguments it prints one id of each kind:
        $ mid next
        Snowflake ID: 742137416151572480
        Segment ID: 1

      With a mode it prints bare ids, one a line, for scripts:
        mid next --mode snowflake
        mid next --tag orders                    (segments and tickets have tags)
        mid next --mode ticket
        mid next --mode uuid7 -n 3               (also uuid1, uuid4, uuid6, objectid, ulid)
        mid next --mode uuid5 --namespace dns --name example.org       (also uuid3)
        mid next --tag orders -n 1000000 > ids   (in batches of 1,000,000)
        mid next --tag orders --format base62    (also tag, the tag's own form, and opaque)

      From a server with TLS, and one that wants a certificate of its clients too:
        mid next --server ids.example --tls
        mid next --server ids.example --ca ca.pem --cert me.pem --key me.key

      Exit code 1 and one line on standard error where the server can't be reached or refuses; ids printed before \
      that are good. Ids are used up by asking for them: asking again gives others.
      """
  )

  @OptionGroup var client: ClientOptions

  @Option(help: "The kind of ids.")
  var mode: NextMode?

  @Option(help: "The business's own space of segment ids. Implies --mode segment. Default: default.")
  var tag: String?

  @Option(name: [.customShort("n"), .customLong("count")], help: "How many ids. Needs --mode or --tag. Default: 1.")
  var count: Int?

  @Option(help: "What the name of --mode uuid3 or uuid5 belongs to: \(NameMode.namespaces).")
  var namespace: String?

  @Option(help: "What the id of --mode uuid3 or uuid5 is made of.")
  var name: String?

  @Option(
    help: ArgumentHelp(
      "Print texts of this form: \(IDFormat.names.joined(separator: ", ")). Needs --mode or --tag.", valueName: "name"))
  var format: String?

  @Option(help: ArgumentHelp("How long to wait for each answer, in seconds.", valueName: "seconds"))
  var timeout = 5.0

  func validate() throws {
    if let tag = self.tag {
      // The form of a tag can be that of Snowflake ids, too.
      guard self.mode != .number(.snowflake) || self.format != nil else {
        throw ValidationError("Snowflake ids have no tags: leave --tag out, or use --mode segment.")
      }
      switch self.mode {
      case .text, .named:
        throw ValidationError(
          "Ids of mode \(self.mode?.name ?? "") have no tags: leave --tag out, or use --mode segment.")
      case .number, nil: break
      }
      do { _ = try Tag(tag) } catch { throw ValidationError("--tag: \(error.message).") }
    }
    if let count = self.count {
      guard (1...Self.maximumCount).contains(count) else {
        throw ValidationError("-n takes a number from 1 to \(Self.maximumCount), not \(count).")
      }
      guard self.mode != nil || self.tag != nil else {
        throw ValidationError("-n needs a kind of ids: add --mode snowflake, --mode segment or --tag NAME.")
      }
    }
    if case .named(let mode) = self.mode {
      guard self.namespace != nil, self.name != nil, self.count == nil else {
        throw ValidationError("--mode \(mode) takes --namespace and --name, and no -n: a name gives one id.")
      }
    } else if self.namespace != nil || self.name != nil {
      throw ValidationError("--namespace and --name are for --mode uuid3 and uuid5.")
    }
    if let format = self.format {
      do { _ = try IDFormat(format) } catch { throw ValidationError("--format: \(error.message).") }
      guard self.mode != nil || self.tag != nil else {
        throw ValidationError("--format needs a kind of ids: add --mode snowflake, --mode segment or --tag NAME.")
      }
    }
    guard self.timeout >= 0.001, self.timeout <= 86_400 else {
      throw ValidationError("--timeout takes 0.001 to 86400 seconds, not \(self.timeout).")
    }
  }

  func run() async throws {
    var output = OutputBuffer()
    try await self.run(into: &output)
  }

  /// Asks and prints. What was answered before a failure is printed all the same.
  func run(into output: inout OutputBuffer) async throws {
    let timeout = Duration.seconds(self.timeout)
    do {
      let client = try await self.client.connect(timeout: timeout)
      let result = await self.ask(IDCalls(client: client, timeout: timeout), &output)
      await client.close()
      try output.flush()
      try result.get()
    } catch OutputBuffer.Failure.closed {
      throw ExitCode.closedPipe
    } catch let status as RPCStatus {
      throw CommandFailure(Self.explain(status))
    }
  }

  private func ask(_ calls: IDCalls, _ output: inout OutputBuffer) async -> Result<Void, any Error> {
    do {
      guard let mode = self.mode ?? (self.tag == nil ? nil : .number(.segment)) else {
        try output.line("Snowflake ID: \(try await calls.makeID(.snowflake))")
        try output.line("Segment ID: \(try await calls.makeID(.segment))")
        return .success(())
      }
      if case .named(let mode) = mode {
        let request = GenerateIDRequest(
          mode: mode.rawValue, format: self.format ?? "", namespace: self.namespace ?? "", name: self.name ?? "")
        try output.line(TerminalText.plain(try await calls.generateText(request)))
        return .success(())
      }
      if let format = self.format {
        try await self.formatted(mode.name, format, calls, &output)
        return .success(())
      }
      switch mode {
      case .named: break
      case .number(let mode): try await self.numbers(mode, calls, &output)
      case .text(let mode): try await self.texts(mode, calls, &output)
      }
      return .success(())
    } catch {
      return .failure(error)
    }
  }

  private func formatted(
    _ mode: String, _ format: String, _ calls: IDCalls, _ output: inout OutputBuffer
  ) async throws {
    try await self.inPieces(of: IDCalls.maximumTextBatch) { count in
      for text in try await calls.formatted(mode, tag: self.tag ?? "", count: count, format: format) {
        try output.line(TerminalText.plain(text))
      }
    }
  }

  /// Asks for all ids in pieces of `size`, or of fewer where the server says that these are too many: it has used up nothing
  /// then. What it does not give one of either is wrong otherwise.
  private func inPieces(of size: Int, _ ask: (Int) async throws -> Void) async throws {
    var (left, size, isSure) = (self.count ?? 1, size, false)
    while left > 0 {
      let piece = min(left, size)
      do {
        try await ask(piece)
        left -= piece
        isSure = true
      } catch let status as RPCStatus where status.code == .invalidArgument && piece > 1 {
        size = piece / 2
        guard !isSure else { continue }
        try await ask(1)
        left -= 1
        isSure = true
      }
    }
  }

  private func numbers(_ mode: ModeArgument, _ calls: IDCalls, _ output: inout OutputBuffer) async throws {
    guard let count = self.count, count > 1 else {
      return try output.line(try await calls.generateID(mode, tag: self.tag ?? ""))
    }
    try await self.inPieces(of: IDCalls.maximumBatch) { count in
      for range in try await calls.generateBatch(mode, tag: self.tag ?? "", count: count) {
        for index in 0..<range.count { try output.line(range.start + index * range.stride) }
      }
    }
  }

  private func texts(_ mode: TextMode, _ calls: IDCalls, _ output: inout OutputBuffer) async throws {
    guard let count = self.count, count > 1 else {
      return try output.line(TerminalText.plain(try await calls.generateText(GenerateIDRequest(mode: mode.rawValue))))
    }
    try await self.inPieces(of: IDCalls.maximumTextBatch) { count in
      for text in try await calls.generateTexts(mode, count: count) { try output.line(TerminalText.plain(text)) }
    }
  }

  /// The status with what to do about it, where the server's own message can't know.
  static func explain(_ status: RPCStatus) -> String {
    let advice: String? =
      switch status.code {
      case .deadlineExceeded: "give it longer with --timeout, or look at the server's log"
      case .notFound: "`mid tag create NAME --store URL` makes a tag, `mid tag list` shows them"
      case .unimplemented: "the server at --server does not know this call; is it a mid server?"
      case .resourceExhausted: "the server is busy; try again later, or ask another node"
      default: nil
      }
    return "\(status)\(advice.map { " (\($0))" } ?? "")"
  }
}

extension HostPort: ExpressibleByArgument {
  /// Reads `HOST` or `HOST:PORT`; the port is gRPC's 50051 where it is missing.
  package init?(argument: String) {
    self.init(argument, defaultPort: 50_051)
  }
}
