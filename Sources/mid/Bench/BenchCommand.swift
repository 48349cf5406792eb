import ArgumentParser
import Foundation
import MidCore
import MidRPC
import MidServer
import NIOCore

extension BenchPlan.Method: ExpressibleByArgument {}
extension BenchPlan.Check: ExpressibleByArgument {}

/// `mid bench`: how fast a server is, and whether it keeps its promises while it is pressed.
struct BenchCommand: AsyncParsableCommand {
  /// The most connections, and the most calls in flight over all of them.
  static let maximumConnections = 10_000
  static let maximumInFlight = 1_000_000

  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure a server, and check its ids.",
    discussion: """
      Asks for ids as fast as the server answers, or with --rate at a steady pace, and tells calls and ids a second, \
      the latency, errors, and whether every id was positive, distinct and in order:
        mid bench
        mid bench --mode segment --tag orders -c 1 -m 100 --duration 30
        mid bench --batch 1000
        mid bench --rate 50000                   (latency counts from when a call was due)
        mid bench --table                        (the Go original's benchmark and table)
        mid bench --server ids.example --tls     (each new connection is a handshake; it is not timed)

      The ids are used up. Ctrl-C ends the run early and still prints its result. docs/benchmarking.md says how to \
      read it.

      Exit code 1 where a call failed, a promise was broken, or --rate was not reached.
      """
  )

  @OptionGroup var client: ClientOptions

  @Option(help: "The kind of ids. Default: snowflake, with --tag segment.")
  var mode: ModeArgument?

  @Option(help: "The business's own space of segment ids. Default: default.")
  var tag: String?

  @Option(name: .shortAndLong, help: "How many connections. Default: 8.")
  var connections: Int?

  @Option(name: [.customShort("m"), .long], help: "How many calls in flight on each connection. Default: 32.")
  var inFlight: Int?

  @Option(help: ArgumentHelp("Ids a call, by GenerateBatch.", valueName: "n"))
  var batch: Int?

  @Flag(help: "Send batches over StreamIDs: one stream for each call in flight.")
  var stream = false

  @Option(help: ArgumentHelp("How long the run, or each row of the table, takes. Default: 10.", valueName: "seconds"))
  var duration: Double?

  @Option(name: [.customShort("n"), .long], help: "How many calls, instead of a duration.")
  var calls: Int?

  @Option(help: ArgumentHelp("Calls a second over all connections, at fixed times.", valueName: "r"))
  var rate: Double?

  @Option(help: "pb calls pb.IDMaker, v1 calls mid.v1.IDService. Default: pb, with --tag, --batch or --stream v1.")
  var method: BenchPlan.Method?

  @Option(
    help: ArgumentHelp("How long a call may take, and the server be away.", valueName: "seconds"))
  var timeout = 5.0

  @Option(help: "all: ids are positive, distinct and in order. distinct: for several nodes behind one address. off.")
  var check = BenchPlan.Check.all

  @Option(help: ArgumentHelp("Memory that the check of distinctness may take.", valueName: "MiB"))
  var checkMemory = 1500

  @Option(help: "How many threads. Default: one for each core, at most one for each connection.")
  var threads: Int?

  @Flag(help: "One JSON object on standard output.")
  var json = false

  @Flag(help: "Run 10, 50, 100 and 200 callers on one connection in both modes, and print the Go original's table.")
  var table = false

  func validate() throws {
    func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
      guard condition else { throw ValidationError(message()) }
    }
    if let tag = self.tag {
      try require(self.mode != .snowflake, "Snowflake ids have no tags: leave --tag out, or use --mode segment.")
      do { _ = try Tag(tag) } catch { throw ValidationError("--tag: \(error.message).") }
    }
    let connections = self.connections ?? 1
    let inFlight = self.inFlight ?? 1
    try require((1...Self.maximumConnections).contains(connections), "-c takes 1 to \(Self.maximumConnections).")
    try require(inFlight >= 1, "-m takes 1 or more.")
    try require(
      inFlight <= Self.maximumInFlight / connections, "-c times -m may be at most \(Self.maximumInFlight).")
    if let batch = self.batch {
      try require((1...IDCalls.maximumBatch).contains(batch), "--batch takes 1 to \(IDCalls.maximumBatch).")
    }
    try require(!self.stream || self.batch != nil, "--stream needs --batch.")
    let isOurs = self.batch != nil || self.tag != nil
    try require(self.method != .pb || !isOurs, "--method pb knows neither --tag nor --batch.")
    try require(self.duration == nil || self.calls == nil, "Give --duration or -n, not both.")
    try require((0.01...86_400).contains(self.duration ?? 1), "--duration takes 0.01 to 86400 seconds.")
    try require((1...1_000_000_000_000).contains(self.calls ?? 1), "-n takes 1 to 1000000000000.")
    try require((0.001...100_000_000).contains(self.rate ?? 1), "--rate takes 0.001 to 100000000 calls a second.")
    try require((0.001...3_600).contains(self.timeout), "--timeout takes 0.001 to 3600 seconds.")
    try require((1...1_000_000).contains(self.checkMemory), "--check-memory takes 1 to 1000000 MiB.")
    try require((1...1024).contains(self.threads ?? 1), "--threads takes 1 to 1024.")
    if self.table {
      let isFixed =
        self.mode == nil && !isOurs && self.connections == nil && self.inFlight == nil && self.rate == nil
        && self.calls == nil && !self.stream
      try require(
        isFixed,
        "--table fixes what is called: it goes with --server and TLS, --duration, --method, --timeout, --check, --json."
      )
    }
  }

  /// What the options ask for.
  var plan: BenchPlan {
    var plan = BenchPlan()
    plan.mode = self.mode ?? (self.tag == nil ? .snowflake : .segment)
    plan.tag = self.tag ?? ""
    plan.batch = self.batch
    plan.isStream = self.stream
    plan.method = self.method ?? (self.tag == nil && self.batch == nil ? .pb : .v1)
    plan.connections = self.connections ?? plan.connections
    plan.inFlight = self.inFlight ?? plan.inFlight
    if let duration = self.duration { plan.length = .duration(.seconds(duration)) }
    if let calls = self.calls {
      plan.length = .calls(calls)
      plan.connections = min(plan.connections, calls)
    }
    plan.rate = self.rate
    plan.timeout = .seconds(self.timeout)
    plan.check = self.check
    plan.checkMemory = self.checkMemory << 20
    return plan
  }

  func run() async throws {
    var output = OutputBuffer()
    try await self.run(into: &output)
  }

  /// Runs and prints; throws exit code 1 where something was wrong.
  func run(into output: inout OutputBuffer) async throws {
    let interruption = BenchInterruption()
    let isWatched = isatty(STDERR_FILENO) == 1
    do {
      let results = try await interruption.during {
        try await self.results(interruption, isWatched: isWatched)
      }
      if self.json {
        try output.line(self.table ? try BenchJSON.text(table: results) : try BenchJSON.text(results[0]))
      } else if self.table {
        for line in BenchTable.lines(results) { try output.line(line) }
        for result in results where !result.isGood || result.missed > 0 {
          try output.line("")
          try output.line(BenchReport.heading(result.plan, server: result.server))
          for line in BenchReport.lines(result) { try output.line(line) }
        }
      } else {
        try output.line(BenchReport.heading(results[0].plan, server: results[0].server))
        for line in BenchReport.lines(results[0]) { try output.line(line) }
      }
      try output.flush()
      let rows = self.table ? BenchTable.plans(self.plan).count : 1
      guard results.count == rows, results.allSatisfy(\.isGood) else { throw ExitCode.failure }
    } catch OutputBuffer.Failure.closed {
      throw ExitCode.closedPipe
    } catch let status as RPCStatus {
      throw CommandFailure("\(status)")
    }
  }

  /// Makes the run, or those of the table, one after the other. The table's runs of one mode are checked together, within
  /// the memory of one.
  private func results(_ interruption: BenchInterruption, isWatched: Bool) async throws -> [BenchResult] {
    let plans = self.table ? BenchTable.plans(self.plan) : [self.plan]
    let dialer = try BenchDialer(
      server: self.client.server, tls: self.client.security, timeout: TimeAmount(.seconds(self.timeout)))
    var results: [BenchResult] = []
    var history = IDHistory()
    for var plan in plans where !interruption.isInterrupted {
      if plan.mode != results.last?.plan.mode { history = IDHistory() }
      plan.checkMemory = max(0, plan.checkMemory - history.bytes)
      let label = self.table ? "\(plan.mode.rawValue) \(plan.inFlight)  " : ""
      let run = BenchRun(plan: plan, dialer: dialer, threads: self.threads ?? System.coreCount)
      results.append(
        try await run.run(
          history: &history, interruption: interruption, progress: BenchProgress(isOn: isWatched, label: label)))
    }
    return results
  }
}
