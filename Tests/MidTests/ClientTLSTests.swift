import ArgumentParser
import Foundation
import MidRPC
import MidServer
import MidTestKit
import NIOCore
import NIOPosix
import Testing

@testable import mid

@Suite("The client with TLS", .timeLimit(.minutes(10)))
struct ClientTLSTests {
  private let files: TestCertificates

  init() throws { self.files = try TestCertificates.shared }

  /// Answers with the id 42.
  private static let method = RPCMethod(path: "/mid.v1.IDService/GenerateID") { _, _, response in
    response.writeBytes(GenerateIDResponse(id: 42).encoded())
    return .reply
  }

  /// Runs `mid next` against a server with these settings, or without TLS.
  private func next(
    _ certificate: String? = "server", clients: RPCTLS.ClientCertificates = .none, host: String = "localhost",
    _ arguments: String...
  ) async throws -> (text: String, error: String?) {
    var context: RPCTLSContext?
    if let certificate {
      var settings = RPCTLS(certificateFile: self.files.certificate(certificate), keyFile: self.files.key(certificate))
      settings.clientCertificates = clients
      settings.clientCAFile = self.files.certificate("ca")
      context = try RPCTLSContext(settings)
    }
    // A test's task may have to wait for its turn longer than a client may for its first request.
    var timeouts = RPCTimeouts()
    timeouts.firstRequest = .minutes(5)
    let server = RPCServer(
      methods: [Self.method], group: .singletonMultiThreadedEventLoopGroup, timeouts: timeouts)
    let address = try await server.start(host: "127.0.0.1", port: 0, tls: context)
    let command = try NextCommand.parse(
      ["--server", "\(host):\(address.port ?? 0)", "--tag", "a", "--timeout", "300"] + arguments)
    let (text, error) = try await captured { try await command.run(into: &$0) }
    await server.stop(grace: .seconds(5))
    if let error {
      let failure = try #require(error as? CommandFailure)
      #expect(!failure.description.contains("\n"))
      return (text, failure.description)
    }
    return (text, nil)
  }

  private var ca: String { self.files.certificate("ca") }

  @Test(arguments: ["localhost", "127.0.0.1"])
  func `asks a server whose authority it trusts, by name and by address`(host: String) async throws {
    let result = try await self.next(host: host, "--ca", self.ca)
    #expect(result.text == "42\n")
    #expect(result.error == nil)
  }

  @Test func `shows its certificate where the server wants one`() async throws {
    let result = try await self.next(
      clients: .required, "--ca", self.ca, "--cert", self.files.certificate("client"), "--key",
      self.files.key("client"))
    #expect(result.text == "42\n")
    #expect(result.error == nil)
  }

  @Test func `takes another name for the certificate than the host`() async throws {
    #expect(try await self.next(host: "127.0.0.1", "--ca", self.ca, "--server-name", "localhost").text == "42\n")
    let wrong = try await self.next("server", "--ca", self.ca, "--server-name", "ids.example").error
    #expect(wrong?.contains("the server's certificate is not for ids.example") == true, "\(wrong ?? "")")
    #expect(wrong?.contains("--server-name") == true)
  }

  @Test func `a certificate that is not trusted, or has expired, is refused with what to do`() async throws {
    for result in [
      try await self.next("server", "--tls"), try await self.next("expired", "--ca", self.ca),
      try await self.next("server", "--ca", self.files.certificate("stranger")),
    ] {
      #expect(result.text == "")
      #expect(result.error?.hasPrefix("UNAVAILABLE: can't connect to localhost:") == true, "\(result)")
      let error = result.error ?? ""
      #expect(error.contains("the server's certificate is not trusted: name the authority"), "\(error)")
    }
  }

  @Test func `a server that wants a certificate is said to, and so is one that refuses ours`() async throws {
    let missing = try await self.next(clients: .required, "--ca", self.ca).error
    #expect(missing?.contains("the server wants a client certificate: give one") == true, "\(missing ?? "")")
    let strange = try await self.next(
      clients: .required, "--ca", self.ca, "--cert", self.files.certificate("strange-client"), "--key",
      self.files.key("strange-client")
    ).error
    #expect(strange?.contains("the server does not trust our certificate") == true, "\(strange ?? "")")
  }

  @Test func `a server without TLS is said to be one`() async throws {
    let error = try await self.next(nil, "--tls").error
    #expect(error?.contains("the server does not speak TLS on this port") == true, "\(error ?? "")")
  }

  @Test func `a server with TLS that is asked without is hinted at`() async throws {
    let error = try await self.next().error
    #expect(error?.contains("--tls") == true, "\(error ?? "")")
  }

  @Test func `files of no use are told with their option`() async throws {
    let cases: [([String], String)] = [
      (["--ca", "/nowhere/ca.pem"], "INVALID_ARGUMENT: --ca /nowhere/ca.pem: no such file"),
      (
        ["--cert", self.ca, "--key", self.ca],
        "INVALID_ARGUMENT: --key \(self.ca): is PEM, but holds no private key"
      ),
      (
        ["--cert", self.files.certificate("client"), "--key", self.files.key("server")],
        "INVALID_ARGUMENT: --key \(self.files.key("server")) is not the key of the certificate in --cert "
          + self.files.certificate("client")
      ),
    ]
    for (arguments, message) in cases {
      let command = try NextCommand.parse(["--server", "127.0.0.1:1"] + arguments)
      let (_, error) = try await captured { try await command.run(into: &$0) }
      #expect((error as? CommandFailure)?.description == message)
    }
  }

  @Test(arguments: [
    ("ids.example", "ids.example", true), ("IDS.Example.", "ids.eXAMPLE", true),
    ("a.ids.example", "*.ids.example", true),
    ("ids.example", "*.example", false), ("a.b.ids.example", "*.ids.example", false), ("ids.example", "*", false),
    ("ids.example", "i*.example", false), ("ids.example", "", false), ("", "", false), ("a..b", "a..b", false),
    ("xids.example", "ids.example", false),
  ])
  func `names are compared by their labels`(name: String, pattern: String, isMatch: Bool) {
    #expect(ServerIdentity.matches(name, pattern: pattern) == isMatch)
  }

  @Test func `a certificate or an authority implies TLS`() throws {
    #expect(try NextCommand.parse([]).client.security == nil)
    #expect(try NextCommand.parse(["--tls"]).client.security == ClientTLS())
    #expect(try NextCommand.parse(["--ca", "a"]).client.security == ClientTLS(authorityFile: "a"))
    #expect(
      try NextCommand.parse(["--cert", "a", "--key", "b"]).client.security
        == ClientTLS(certificateFile: "a", keyFile: "b"))
  }

  @Test(arguments: [
    ["--cert", "a"], ["--key", "a"], ["--tls", "--key", "a"], ["--server-name", "a"],
    ["--tls", "--server-name", "127.0.0.1"], ["--tls", "--server-name", "a:b"], ["--tls", "--server-name", ""],
  ])
  func `options that do not go together are a usage error`(arguments: [String]) {
    let error = #expect(throws: (any Error).self) { try NextCommand.parse(arguments) }
    if let error { #expect(NextCommand.exitCode(for: error) == .validationFailure) }
  }
}
