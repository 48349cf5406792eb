import ArgumentParser
import MidRPC
import MidServer

/// The options of every command that asks a server: where it is, and how the connection is secured.
struct ClientOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The server's gRPC address.", valueName: "host:port"))
  var server = HostPort(host: "127.0.0.1", port: 50051)

  @Flag(help: "Speak TLS, trusting the system's authorities.")
  var tls = false

  @Option(help: ArgumentHelp("Trust the authorities in this PEM file instead. Implies --tls.", valueName: "file"))
  var ca: String?

  @Option(help: ArgumentHelp("Show the server this certificate, PEM. Needs --key, implies --tls.", valueName: "file"))
  var cert: String?

  @Option(help: ArgumentHelp("The private key of --cert, PEM and not encrypted.", valueName: "file"))
  var key: String?

  @Option(
    help: ArgumentHelp(
      "The name that the server's certificate is for, where that is not the host. Needs TLS.", valueName: "name"))
  var serverName: String?

  func validate() throws {
    guard self.server.port > 0 else { throw ValidationError("--server takes a port from 1 to 65535.") }
    guard (self.cert == nil) == (self.key == nil) else {
      throw ValidationError(
        self.key == nil ? "--cert needs --key, its private key." : "--key needs --cert, the certificate it belongs to.")
    }
    if let name = self.serverName {
      guard self.isSecured else { throw ValidationError("--server-name needs --tls, --ca or --cert.") }
      guard let parsed = HostPort(name, defaultPort: 1), parsed.host == name, name.contains(where: \.isLetter) else {
        throw ValidationError("--server-name takes a DNS name, not '\(name)'.")
      }
    }
  }

  private var isSecured: Bool { self.tls || self.ca != nil || self.cert != nil }

  /// How to secure the connection, or nil for none of it.
  var security: ClientTLS? {
    guard self.isSecured else { return nil }
    return ClientTLS(
      authorityFile: self.ca, certificateFile: self.cert, keyFile: self.key, serverName: self.serverName)
  }

  /// Connects to the server.
  func connect(timeout: Duration) async throws(RPCStatus) -> RPCClient {
    try await RPCClient.connect(to: self.server, tls: self.security, timeout: timeout)
  }
}
