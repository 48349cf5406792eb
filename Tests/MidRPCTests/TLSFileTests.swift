import Foundation
import MidTestKit
import NIOSSL
import Testing

@testable import MidRPC

@Suite("The files of TLS")
struct TLSFileTests {
  private let files: TestCertificates

  init() throws { self.files = try TestCertificates.shared }

  private func problems(_ change: (inout RPCTLS) throws -> Void) rethrows -> [RPCTLSError.Problem] {
    var settings = RPCTLS(certificateFile: self.files.certificate("server"), keyFile: self.files.key("server"))
    try change(&settings)
    do throws(RPCTLSError) {
      _ = try RPCTLSContext(settings)
      return []
    } catch {
      return error.problems
    }
  }

  @Test func `what people look at is read from the certificate`() throws {
    let context = try RPCTLSContext(
      RPCTLS(certificateFile: self.files.certificate("server"), keyFile: self.files.key("server")))
    let certificate = context.certificate
    #expect(certificate.subject == "O=Tests\\, Ltd,CN=server")
    #expect(certificate.names == ["localhost", "127.0.0.1"])
    let now = Int64(Date().timeIntervalSince1970)
    #expect(certificate.notBefore <= now)
    // It was made for ten days, today.
    #expect(abs(certificate.notAfter - now - 10 * 86_400) < 86_400)
  }

  @Test func `an expired certificate is served all the same`() throws {
    let context = try RPCTLSContext(
      RPCTLS(certificateFile: self.files.certificate("expired"), keyFile: self.files.key("expired")))
    #expect(context.certificate.notAfter < Int64(Date().timeIntervalSince1970))
  }

  @Test func `all files that are missing are told at once`() {
    let found = self.problems {
      $0.certificateFile = "/nowhere/server.pem"
      $0.keyFile = self.files.folder.path
      $0.clientCAFile = "/nowhere/ca.pem"
      $0.clientCertificates = .required
    }
    let expected: [RPCTLSError.Problem] = [
      .init(role: .certificate, path: "/nowhere/server.pem", reason: "no such file"),
      .init(role: .key, path: self.files.folder.path, reason: "is a folder, not a file"),
      .init(role: .authority, path: "/nowhere/ca.pem", reason: "no such file"),
    ]
    #expect(found == expected)
  }

  @Test func `a file that holds something else is told apart`() throws {
    let empty = try self.files.write("empty.pem", "")
    let text = try self.files.write("text.pem", "hello\n")
    let damaged = try self.files.write(
      "damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    let badKey = try self.files.write(
      "damaged.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    let large = try self.files.write("large.pem", String(repeating: "x", count: 1024 * 1024 + 1))
    #expect(self.problems { $0.certificateFile = empty }.map(\.reason) == ["is empty"])
    #expect(
      self.problems { $0.certificateFile = text }.map(\.reason)
        == ["is not PEM: it has no line -----BEGIN CERTIFICATE-----"])
    #expect(
      self.problems { $0.certificateFile = self.files.key("server") }.map(\.reason)
        == ["is PEM, but holds no certificate"])
    #expect(
      self.problems { $0.certificateFile = damaged }.map(\.reason)
        == ["holds a certificate that can't be read: it is damaged or cut off"])
    #expect(
      self.problems { $0.keyFile = self.files.certificate("server") }.map(\.reason)
        == ["is PEM, but holds no private key"])
    #expect(
      self.problems { $0.keyFile = badKey }.map(\.reason)
        == ["holds a private key that can't be read: it is damaged, or of a kind that TLS does not know"])
    #expect(self.problems { $0.certificateFile = large }.map(\.reason) == ["has more than 1048576 bytes"])
  }

  @Test func `an encrypted key is said to be one, in both forms`() throws {
    try self.files.openssl(
      "pkcs8", "-topk8", "-in", self.files.key("server"), "-passout", "pass:secret", "-out", "encrypted8.key")
    try self.files.openssl(
      "ec", "-aes128", "-in", self.files.key("server"), "-passout", "pass:secret", "-out", "encrypted1.key")
    for name in ["encrypted8", "encrypted1"] {
      let found = self.problems { $0.keyFile = self.files.key(name) }
      #expect(found.map(\.role) == [.key])
      #expect(found.first?.reason.hasPrefix("is encrypted, and there is nobody to ask") == true, "\(name)")
    }
  }

  @Test func `a key of another certificate is refused`() {
    let found = self.problems { $0.keyFile = self.files.key("client") }
    let reason = "is not the key of the first certificate in \(self.files.certificate("server"))"
    #expect(found == [.init(role: .key, path: self.files.key("client"), reason: reason)])
  }

  @Test func `RSA keys and whole chains are served too`() throws {
    try self.files.openssl(
      "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/C=XX/ST=S/L=L/O=O/OU=OU/CN=a;b",
      "-keyout", "rsa.key", "-out", "rsa.pem")
    let chain = try self.files.write(
      "chain.pem",
      try String(contentsOfFile: self.files.certificate("rsa"), encoding: .utf8)
        + String(contentsOfFile: self.files.certificate("ca"), encoding: .utf8))
    let context = try RPCTLSContext(RPCTLS(certificateFile: chain, keyFile: self.files.key("rsa")))
    #expect(context.certificate.subject == "C=XX,ST=S,L=L,O=O,OU=OU,CN=a\\;b")
    #expect(context.certificate.names == [])
    #expect(context.current.configuration.certificateChain.count == 2)
  }

  @Test func `the name of something that is no certificate is empty, however it is cut`() throws {
    let der = try NIOSSLCertificate.fromPEMFile(self.files.certificate("server"))[0].toDERBytes()
    let whole = CertificateName.subject(der: der)
    #expect(whole == "O=Tests\\, Ltd,CN=server")
    for length in 0..<der.count {
      #expect(CertificateName.subject(der: Array(der[..<length])) == "")
    }
    var generator = SystemRandomNumberGenerator()
    let seed = generator.next()
    print("seed \(seed)")
    var random = SplitMix64(seed: seed)
    for _ in 0..<2000 {
      var broken = der
      broken[Int(random.next() % UInt64(der.count))] = UInt8(truncatingIfNeeded: random.next())
      _ = CertificateName.subject(der: broken)
    }
  }
}
