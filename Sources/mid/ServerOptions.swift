import ArgumentParser
import Foundation
import MidServer

/// The options of every command that goes by the configuration of a server.
struct ServerOptions: ParsableArguments {
  @Option(help: ArgumentHelp("A YAML file with settings.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("sqlite:PATH, or mysql://USER@HOST:PORT/DATABASE.", valueName: "url"))
  var store: String?

  @Option(help: ArgumentHelp("The table of tags: \(StoreOptions.tableKinds).", valueName: "dialect"))
  var table: String?

  @Option(help: ArgumentHelp("Where gRPC listens.", valueName: "host:port"))
  var grpc: String?

  @Option(help: ArgumentHelp("Where HTTP listens, or off.", valueName: "host:port"))
  var http: String?

  @Option(help: ArgumentHelp("Where /metrics listens, or off.", valueName: "host:port"))
  var metrics: String?

  @Option(help: ArgumentHelp("This node's worker id in Snowflake ids: a number, ordinal, or leased.", valueName: "n"))
  var workerID: String?

  @Option(help: ArgumentHelp("This node's datacenter id in Snowflake ids.", valueName: "n"))
  var datacenterID: String?

  /// Reads flags, environment and file.
  ///
  /// - Throws: Exit code 2 after every error there is was printed.
  func load() throws -> ServerConfiguration {
    var flags: [String: String] = [:]
    flags["store.url"] = self.store
    flags["segment.table.dialect"] = self.table
    flags["grpc.address"] = self.grpc
    flags["http.address"] = self.http
    flags["metrics.address"] = self.metrics
    flags["worker.id"] = self.workerID
    flags["datacenter.id"] = self.datacenterID
    if let store = self.store {
      do throws(CommandFailure) {
        _ = try StoreOpener.location(argument: store)
      } catch {
        throw Self.broken([error.description])
      }
    }
    do throws(ConfigurationErrors) {
      return try ServerConfiguration.load(
        flags: flags, environment: ProcessInfo.processInfo.environment, filePath: self.config)
    } catch {
      throw Self.broken(error.errors.map(\.description))
    }
  }

  /// Prints what is wrong with the configuration, one error a line, and returns the exit code that says so.
  static func broken(_ errors: [String]) -> ExitCode {
    for line in errors { FileHandle.standardError.write(Data("Error: \(line)\n".utf8)) }
    return .brokenConfiguration
  }
}
