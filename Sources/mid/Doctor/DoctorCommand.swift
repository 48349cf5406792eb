import ArgumentParser
import MidCore
import MidServer

/// `mid doctor`: whether a server of this configuration would work here, or works.
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Check configuration, store, worker ids, clock and ports.",
    discussion: """
      Reads the same flags, environment and file as `mid serve`, looks at what a server of that configuration needs, \
      and prints a line for each: ok, warn or FAIL, what was found, and what to do. It changes nothing, makes no file \
      and no table, and disturbs no server that is running; run it before the first start, or beside a server, as the \
      same user.

        mid doctor
        mid doctor --config /etc/mid.yaml
        mid doctor --json | jq -r '.findings[] | select(.level != "ok")'

      Exit codes: 0 nothing is FAIL, 1 something is, 2 the configuration is broken, so that nothing was looked at.
      """
  )

  @OptionGroup var options: ServerOptions

  @Flag(help: "Print a JSON object.")
  var json = false

  func run() async throws {
    try await CommandOutput.print { output throws in try await self.run(into: &output) }
  }

  /// The command, printing into `output`.
  func run(into output: inout OutputBuffer) async throws {
    let configuration = try self.options.load()
    let probe: DoctorProbe
    do throws(IDError) {
      let store = try StoreOpener.store(
        at: configuration.store.location, table: configuration.table.dialect,
        password: configuration.store.password?.reveal(), connections: 1, timeout: configuration.store.timeout)
      let wish = try configuration.snowflake.wish(host: HostName.current)
      let tickets =
        configuration.ticket.databases.isEmpty
        ? [] : try StoreOpener.ticketStores(of: configuration, beside: store, observer: { _, _, _ in })
      let databases = try StoreOpener.segmentSource(of: configuration).open(
        patience: configuration.databases.timeout, logger: DoctorProbe.quiet)
      probe = DoctorProbe(
        configuration: configuration, store: store, databases: databases, ticketStores: tickets,
        wish: wish)
    } catch {
      throw ServerOptions.broken([error.message])
    }
    let report = DoctorReport(findings: await probe.findings())
    for line in self.json ? [report.json] : report.lines { try output.line(line) }
    guard report.isWell else {
      try output.flush()
      throw ExitCode.failure
    }
  }
}
