import Foundation
import MidRPC
import MidServer
import MidTestKit
import Testing

@Suite("The server's certificate")
struct TLSCertificatesTests {
  private let files: TestCertificates
  private let log = EventLog()
  private let registry = PrometheusRegistry()

  init() throws { self.files = try TestCertificates.shared }

  private func certificates(_ settings: RPCTLS?) throws -> TLSCertificates {
    let now = Int64(Date().timeIntervalSince1970) * 1000
    let certificates = try TLSCertificates(settings, logger: self.log.logger, now: { now })
    certificates.collect(in: self.registry)
    return certificates
  }

  /// The metric's line of a scrape.
  private var expiry: String? {
    let name = "mid_tls_certificate_expiry_timestamp_seconds "
    return self.registry.scrape().split(separator: "\n").first { $0.hasPrefix(name) }.map { String($0) }
  }

  @Test func `is logged with its names and end, and its end is a metric`() throws {
    let certificates = try self.certificates(
      RPCTLS(certificateFile: self.files.certificate("server"), keyFile: self.files.key("server")))
    let end = try #require(certificates.context).certificate.notAfter
    #expect(self.log.events.count == 1)
    let line = try #require(self.log.events.first)
    #expect(line.hasPrefix("TLS certificate names=localhost,127.0.0.1 not_after=20"))
    #expect(line.hasSuffix(".000Z subject=O=Tests\\, Ltd,CN=server"))
    let value = self.expiry?.split(separator: " ").last.flatMap { Double($0) }
    #expect(value == Double(end))
  }

  @Test func `is not there without TLS, and a reload then does nothing`() throws {
    let certificates = try self.certificates(nil)
    #expect(self.log.events.isEmpty)
    #expect(self.expiry == nil)
    certificates.reload()
    #expect(self.log.events.isEmpty)
  }

  @Test func `that has expired is warned of`() throws {
    _ = try self.certificates(
      RPCTLS(certificateFile: self.files.certificate("expired"), keyFile: self.files.key("expired")))
    #expect(self.log.count(of: "the TLS certificate has expired, clients will refuse it") == 1)
  }

  @Test func `is reloaded, and a bad file leaves the old one in use`() throws {
    let folder = self.files.folder.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let certificate = folder.appending(path: "now.pem")
    try Data(contentsOf: URL(filePath: self.files.certificate("server"))).write(to: certificate)
    let key = folder.appending(path: "now.key")
    try Data(contentsOf: URL(filePath: self.files.key("server"))).write(to: key)
    let certificates = try self.certificates(RPCTLS(certificateFile: certificate.path, keyFile: key.path))
    let before = self.expiry

    try Data("nonsense".utf8).write(to: certificate)
    certificates.reload()
    #expect(self.log.count(of: "TLS certificate not reloaded, the old one stays in use") == 1)
    #expect(self.log.events.last?.contains("\(certificate.path): is not PEM") == true)
    #expect(self.log.events.last?.hasSuffix("setting=grpc.tls.certificate") == true)
    #expect(certificates.context?.certificate.subject == "O=Tests\\, Ltd,CN=server")
    #expect(self.expiry == before)

    try Data(contentsOf: URL(filePath: self.files.certificate("expired"))).write(to: certificate)
    try Data(contentsOf: URL(filePath: self.files.key("expired"))).write(to: key)
    certificates.reload()
    #expect(self.log.count(of: "TLS certificate reloaded") == 1)
    #expect(self.log.count(of: "the TLS certificate has expired") == 1)
    #expect(certificates.context?.certificate.subject == "CN=expired")
    #expect(self.expiry != before)
  }

  @Test func `files of no use are errors by setting, all at once`() {
    let error = #expect(throws: ConfigurationErrors.self) {
      try self.certificates(RPCTLS(certificateFile: "/nowhere/a.pem", keyFile: "/nowhere/a.key"))
    }
    #expect(
      error?.errors.map(\.description) == [
        "settings: grpc.tls.certificate: /nowhere/a.pem: no such file",
        "settings: grpc.tls.key: /nowhere/a.key: no such file",
      ])
  }
}
