package import NIOCore
import NIOSSL
import Synchronization

/// A server's certificate and key, ready for connections, and replaceable while the server runs.
///
/// New connections take what is here when they are accepted; those that are open keep what they began with. Thread-safe.
public final class RPCTLSContext: Sendable {
  private struct State {
    var context: NIOSSLContext
    /// The same for HTTP/1.1, which is another protocol to agree on in the handshake.
    var http1Context: NIOSSLContext
    var certificate: RPCCertificate
  }

  /// Where the files are, and what is asked of clients.
  public let settings: RPCTLS
  private let state: Mutex<State>

  /// Reads the files. Blocks for as long as that takes.
  ///
  /// - Throws: Everything that is wrong with them. An expired certificate is no error: see ``certificate``.
  public init(_ settings: RPCTLS) throws(RPCTLSError) {
    self.settings = settings
    self.state = Mutex(try Self.load(settings))
  }

  /// What connections are shown from now on.
  public var certificate: RPCCertificate { self.state.withLock { $0.certificate } }

  /// Reads the files again, for the connections that come after. Blocks for as long as that takes.
  ///
  /// Sessions that were begun before are not resumed: clients go through a whole handshake, and are checked anew.
  ///
  /// - Returns: The new certificate.
  /// - Throws: Everything that is wrong with the files; then all stays as it was.
  @discardableResult
  public func reload() throws(RPCTLSError) -> RPCCertificate {
    let state = try Self.load(self.settings)
    self.state.withLock { $0 = state }
    return state.certificate
  }

  /// What a connection that is accepted now uses.
  var current: NIOSSLContext { self.state.withLock { $0.context } }

  /// Has a connection that was just accepted speak TLS, and HTTP/1.1 in it. On the channel's event loop.
  ///
  /// - Throws: Where the channel is closed already, or TLS can't be set up.
  package func secureHTTP1(_ channel: any Channel) throws {
    let context = self.state.withLock { $0.http1Context }
    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
  }

  /// The suites of TLS 1.2: AEAD with ECDHE only, so none of RFC 9113, appendix A. TLS 1.3 has no others.
  /// ECDHE_RSA_WITH_AES_128_GCM_SHA256, which RFC 9113, 9.2.2 asks for, is among them.
  package static let cipherSuites = [
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
  ].joined(separator: ":")

  private static func load(_ settings: RPCTLS) throws(RPCTLSError) -> State {
    var problems: [RPCTLSError.Problem] = []
    func reading<Value>(
      _ role: RPCTLSError.Role, _ path: String, _ body: (String) throws(PEMFile.Failure) -> Value
    ) -> Value? {
      do throws(PEMFile.Failure) {
        return try body(path)
      } catch {
        problems.append(.init(role: role, path: path, reason: error.description))
        return nil
      }
    }
    let chain = reading(.certificate, settings.certificateFile, PEMFile.certificates)
    let key = reading(.key, settings.keyFile, PEMFile.privateKey)
    var authorities: [NIOSSLCertificate] = []
    if settings.clientCertificates != .none {
      if let path = settings.clientCAFile {
        authorities = reading(.authority, path, PEMFile.certificates) ?? []
      } else {
        problems.append(.init(role: .authority, path: "", reason: "client certificates need the CA that signs them"))
      }
    }
    guard let chain, let leaf = chain.first, let key, problems.isEmpty else {
      throw RPCTLSError(problems: problems)
    }

    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = settings.minimumVersion == .tls13 ? .tlsv13 : .tlsv12
    configuration.cipherSuites = Self.cipherSuites
    configuration.applicationProtocols = ["h2"]
    configuration.renegotiationSupport = .none
    // A connection is only closed at once after the peer had its time to close: see RPCTimeouts.linger.
    configuration.shutdownTimeout = .zero
    switch settings.clientCertificates {
    case .none: configuration.certificateVerification = .none
    case .optional: configuration.certificateVerification = .optionalVerification
    case .required: configuration.certificateVerification = .noHostnameVerification
    }
    if settings.clientCertificates != .none {
      configuration.trustRoots = .certificates(authorities)
      configuration.sendCANameList = true
    }
    do {
      let context = try NIOSSLContext(configuration: configuration)
      configuration.applicationProtocols = ["http/1.1"]
      return State(
        context: context, http1Context: try NIOSSLContext(configuration: configuration),
        certificate: try RPCCertificate(leaf))
    } catch NIOSSLError.failedToLoadPrivateKey {
      // It was read already, so this is the comparison of the two.
      throw RPCTLSError(problems: [
        .init(
          role: .key, path: settings.keyFile,
          reason: "is not the key of the first certificate in \(settings.certificateFile)")
      ])
    } catch {
      throw RPCTLSError(problems: [
        .init(
          role: .certificate, path: settings.certificateFile,
          reason: "holds a certificate that TLS can't use: \(error)")
      ])
    }
  }
}

extension RPCCertificate {
  /// Reads what is worth telling of a certificate.
  init(_ certificate: NIOSSLCertificate) throws {
    self.init(
      subject: CertificateName.subject(der: try certificate.toDERBytes()),
      names: certificate._subjectAlternativeNames().compactMap { name in
        switch name.nameType {
        case .dnsName: String(decoding: name.contents, as: UTF8.self)
        case .ipAddress: Self.address(Array(name.contents))
        default: nil
        }
      },
      notBefore: Int64(certificate.notValidBefore), notAfter: Int64(certificate.notValidAfter))
  }

  /// The text of an address of 4 or 16 bytes.
  private static func address(_ bytes: [UInt8]) -> String? {
    do {
      return try SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0).ipAddress
    } catch {
      return nil
    }
  }
}
