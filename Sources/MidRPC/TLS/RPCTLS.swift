/// What a server needs for TLS: its files, and what it asks of clients.
public struct RPCTLS: Sendable, Hashable {
  /// Whether clients show a certificate of their own.
  public enum ClientCertificates: String, Sendable, Hashable, CaseIterable {
    /// They are not asked for one.
    case none
    /// They are asked; one that is given must be signed by the client CA, none is fine too.
    case optional
    /// No call without one that the client CA signed.
    case required
  }

  /// The least version of TLS. There is nothing below 1.2: RFC 9113, 9.2 forbids it to HTTP/2.
  public enum Version: String, Sendable, Hashable, CaseIterable {
    /// TLS 1.2, with the cipher suites that RFC 9113, appendix A leaves.
    case tls12 = "1.2"
    /// TLS 1.3.
    case tls13 = "1.3"
  }

  /// The PEM file with the server's certificate and, after it, those that lead to a root.
  public var certificateFile: String
  /// The PEM file with the certificate's private key, not encrypted.
  public var keyFile: String
  /// The PEM file with the authorities that sign clients' certificates. Needed unless ``clientCertificates`` is none.
  public var clientCAFile: String?
  /// Whether clients show a certificate. Default none.
  public var clientCertificates = ClientCertificates.none
  /// The least version of TLS. Default 1.2.
  public var minimumVersion = Version.tls12

  /// Creates the settings of a server that asks nothing of its clients.
  public init(certificateFile: String, keyFile: String) {
    self.certificateFile = certificateFile
    self.keyFile = keyFile
  }
}

/// Everything that is wrong with the files of a server's TLS, found in one go.
public struct RPCTLSError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What a file is for.
  public enum Role: String, Sendable, Hashable {
    /// The certificate chain.
    case certificate
    /// The certificate's private key.
    case key
    /// The authorities of the other side's certificates.
    case authority
  }

  /// One file that is of no use.
  public struct Problem: Sendable, Hashable {
    /// What it is for.
    public var role: Role
    /// Its path.
    public var path: String
    /// What is wrong, as the rest of a sentence: `no such file`.
    public var reason: String
  }

  /// The problems, at least one.
  public var problems: [Problem]

  /// One problem a line.
  public var description: String {
    self.problems.map { "\($0.path): \($0.reason)" }.joined(separator: "\n")
  }
}

/// What people look at in a certificate.
public struct RPCCertificate: Sendable, Hashable {
  /// The subject's name: `CN=ids.example,O=Example`. Empty where it has none, as newer authorities leave it out.
  public var subject: String
  /// The names and addresses that it is for.
  public var names: [String]
  /// When it begins to be valid, in seconds since the Unix epoch.
  public var notBefore: Int64
  /// When it ends to be valid, in seconds since the Unix epoch.
  public var notAfter: Int64
}
