import MidRPC
import MidServer
import Testing

@Suite("The settings of TLS")
struct TLSConfigurationTests {
  private func errors(_ flags: [String: String]) -> [String] {
    do throws(ConfigurationErrors) {
      _ = try ServerConfiguration.load(flags: flags)
      return []
    } catch {
      return error.errors.map(\.description)
    }
  }

  private static let pair = ["grpc.tls.certificate": "/etc/mid/server.pem", "grpc.tls.key": "/etc/mid/server.key"]

  @Test func `a certificate and its key turn it on`() throws {
    let tls = try ServerConfiguration.load(flags: Self.pair).grpc.tls
    #expect(tls.isOn)
    #expect(tls.settings == RPCTLS(certificateFile: "/etc/mid/server.pem", keyFile: "/etc/mid/server.key"))
  }

  @Test func `everything is read from the environment`() throws {
    let tls = try ServerConfiguration.load(environment: [
      "MID_GRPC_TLS_CERTIFICATE": "a", "MID_GRPC_TLS_KEY": "b", "MID_GRPC_TLS_CLIENT_CA": "c",
      "MID_GRPC_TLS_CLIENT_CERTIFICATES": "required", "MID_GRPC_TLS_MINIMUM_VERSION": "1.3",
    ]).grpc.tls
    var expected = RPCTLS(certificateFile: "a", keyFile: "b")
    expected.clientCAFile = "c"
    expected.clientCertificates = .required
    expected.minimumVersion = .tls13
    #expect(tls.settings == expected)
  }

  @Test func `a file of settings may write the version as a number`() throws {
    let yaml = """
      grpc:
        tls:
          certificate: a
          key: b
          minimum_version: 1.3
          client_certificates: optional
          client_ca: c
      """
    let tls = try ServerConfiguration.load(file: ("mid.yaml", yaml)).grpc.tls
    #expect(tls.minimumVersion == .tls13)
    #expect(tls.clientCertificates == .optional)
  }

  @Test(arguments: [
    (["grpc.tls.key": "k"], "grpc.tls.key: needs grpc.tls.certificate, the certificate that the key belongs to"),
    (["grpc.tls.certificate": "c"], "grpc.tls.certificate: needs grpc.tls.key, the certificate's private key"),
    (["grpc.tls.client_ca": "c"], "grpc.tls.client_ca: does nothing without grpc.tls.certificate and grpc.tls.key"),
    (
      ["grpc.tls.client_certificates": "optional"],
      "grpc.tls.client_certificates: does nothing without grpc.tls.certificate and grpc.tls.key"
    ),
    (
      ["grpc.tls.minimum_version": "1.3"],
      "grpc.tls.minimum_version: does nothing without grpc.tls.certificate and grpc.tls.key"
    ),
    (
      Self.pair.merging(["grpc.tls.client_ca": "c"]) { $1 },
      "grpc.tls.client_ca: does nothing while grpc.tls.client_certificates is none: set that to optional or required"
    ),
    (
      Self.pair.merging(["grpc.tls.client_certificates": "required"]) { $1 },
      "grpc.tls.client_certificates: required needs grpc.tls.client_ca, the authorities that sign clients' certificates"
    ),
  ])
  func `what does not go together is refused`(flags: [String: String], message: String) {
    #expect(self.errors(flags) == ["settings: \(message)"])
  }

  @Test(arguments: [
    ("grpc.tls.client_certificates", "yes", "one of none, optional, required"),
    ("grpc.tls.minimum_version", "1.1", "one of 1.2, 1.3"),
  ])
  func `other values are refused`(key: String, value: String, allowed: String) {
    let found = self.errors(Self.pair.merging([key: value]) { $1 })
    #expect(found.count == 1)
    #expect(found.first?.hasSuffix("'\(value)' is not allowed; allowed: \(allowed)") == true, "\(found)")
  }
}
