import MidRPC
import NIOCore
import NIOSSL

/// How the client secures a connection: whom it trusts, and who it says it is.
struct ClientTLS: Sendable, Equatable {
  /// A PEM file with the authorities to trust, or nil for the system's.
  var authorityFile: String?
  /// A PEM file with the client's own certificate chain, or nil.
  var certificateFile: String?
  /// A PEM file with the certificate's private key, or nil.
  var keyFile: String?
  /// The name that the server's certificate must have, or nil for the host that is connected to.
  var serverName: String?

  /// Reads the files. Blocks for as long as that takes.
  ///
  /// - Throws: `INVALID_ARGUMENT` with the option, the file and what is wrong.
  func context() throws(RPCStatus) -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuites = RPCTLSContext.cipherSuites
    configuration.applicationProtocols = ["h2"]
    configuration.shutdownTimeout = .seconds(1)
    if let path = self.authorityFile {
      configuration.trustRoots = .certificates(try Self.read("--ca", path, PEMFile.certificates))
    }
    if let path = self.certificateFile {
      configuration.certificateChain = try Self.read("--cert", path, PEMFile.certificates).map { .certificate($0) }
    }
    if let path = self.keyFile {
      configuration.privateKey = .privateKey(try Self.read("--key", path, PEMFile.privateKey))
    }
    do {
      return try NIOSSLContext(configuration: configuration)
    } catch NIOSSLError.failedToLoadPrivateKey {
      throw RPCStatus(
        .invalidArgument,
        "--key \(self.keyFile ?? "") is not the key of the certificate in --cert \(self.certificateFile ?? "")")
    } catch {
      throw RPCStatus(.invalidArgument, "the certificates can't be used: \(error)")
    }
  }

  private static func read<Value>(
    _ option: String, _ path: String, _ body: (String) throws(PEMFile.Failure) -> Value
  ) throws(RPCStatus) -> Value {
    do throws(PEMFile.Failure) {
      return try body(path)
    } catch {
      throw RPCStatus(.invalidArgument, "\(option) \(path): \(error)")
    }
  }

  /// The name to check and to tell the server by SNI, or nil where the host is an address: that is checked against the
  /// addresses in the certificate, and RFC 6066, 3 keeps it out of SNI.
  func name(for host: String) -> String? {
    if let name = self.serverName { return name }
    do {
      _ = try SocketAddress(ipAddress: host, port: 0)
      return nil
    } catch {
      return host
    }
  }
}

/// Says what went wrong with TLS, and what to do.
enum ClientTLSError {
  /// The sentence for an error of a connection over TLS, or nil where the error is no such thing.
  ///
  /// - Parameter name: whom we wanted to reach.
  static func reason(_ error: any Error, name: String) -> String? {
    switch error {
    case is NIOSSLExtraError:
      guard (error as? NIOSSLExtraError) == .failedToValidateHostname else { return "\(error)" }
      return
        "the server's certificate is not for \(name); connect by a name that it is for, or give that with --server-name"
    case NIOSSLError.handshakeFailed(let error): return self.reason(error)
    case let error as BoringSSLError: return self.reason(error)
    case NIOSSLError.uncleanShutdown: return "the server cut the connection off"
    default: return nil
    }
  }

  private static func reason(_ error: BoringSSLError) -> String {
    guard case .sslError(let stack) = error else { return "TLS failed: \(error)" }
    if stack == [.eofDuringHandshake] {
      return "the server closed the connection during the TLS handshake; does it serve with TLS?"
    }
    let text = stack.map(\.description).joined(separator: "; ")
    return self.sentences.first { text.contains($0.key) }?.value ?? "TLS failed: \(text)"
  }

  private static let noTLS = "the server does not speak TLS on this port; leave out --tls, --ca and --cert"

  /// By BoringSSL's names of reasons. The ones with ALERT are what the server said of us.
  private static let sentences: KeyValuePairs = [
    "CERTIFICATE_VERIFY_FAILED":
      "the server's certificate is not trusted: name the authority that signed it with --ca FILE, or it has expired",
    "WRONG_VERSION_NUMBER": Self.noTLS, "UNEXPECTED_RECORD": Self.noTLS, "HTTP_REQUEST": Self.noTLS,
    "CERTIFICATE_REQUIRED": "the server wants a client certificate: give one with --cert FILE --key FILE",
    "ALERT_UNKNOWN_CA":
      "the server does not trust our certificate: give one that its authority signed with --cert and --key",
    "ALERT_BAD_CERTIFICATE": "the server refuses our certificate (bad certificate); look at --cert",
    "ALERT_CERTIFICATE_EXPIRED": "the server refuses our certificate: it has expired",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the server refuses our certificate: it is not for clients",
    "ALERT_PROTOCOL_VERSION": "the server wants another version of TLS than 1.2 or 1.3",
    "ALERT_NO_APPLICATION_PROTOCOL": "the server does not speak HTTP/2 over TLS; is this a gRPC server's port?",
    "ALERT_HANDSHAKE_FAILURE":
      "the server refused the handshake; does it want a client certificate (--cert FILE --key FILE)?",
  ]
}
