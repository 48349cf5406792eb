package import Foundation

/// Certificates for tests, made by the `openssl` command in a temporary folder: keys are too short-lived to be kept.
///
/// `ca` signed `server`, `renewed`, `expired` (all for localhost and 127.0.0.1) and `client`; `stranger` signed
/// `strange-client`. Each has NAME.pem and NAME.key. Made once a process, removed by nobody: the folder is temporary.
package struct TestCertificates: Sendable {
  /// Why `openssl` did not do as it was asked.
  package struct Failure: Error, CustomStringConvertible {
    package let description: String
  }

  private static let made = Result { try TestCertificates(making: ()) }

  /// The certificates of this process.
  ///
  /// - Throws: ``Failure`` where `openssl` is missing or too old.
  package static var shared: TestCertificates { get throws { try self.made.get() } }

  /// Where they are.
  package let folder: URL

  /// The certificate of a name.
  package func certificate(_ name: String) -> String { self.folder.appending(path: "\(name).pem").path }

  /// The private key of a name.
  package func key(_ name: String) -> String { self.folder.appending(path: "\(name).key").path }

  /// Writes a file of its own beside them, and returns its path.
  package func write(_ name: String, _ text: String) throws -> String {
    let url = self.folder.appending(path: name)
    try Data(text.utf8).write(to: url)
    return url.path
  }

  private init(making: Void) throws {
    self.folder = FileManager.default.temporaryDirectory.appending(path: "mid-certificates-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
    for authority in ["ca", "stranger"] {
      try self.openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256", "-days", "30",
        "-subj", "/CN=\(authority) of tests", "-keyout", "\(authority).key", "-out", "\(authority).pem")
    }
    let server = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
    let client = "extendedKeyUsage=clientAuth\n"
    try self.sign("server", "/O=Tests, Ltd/CN=server", by: "ca", server, serial: 1)
    try self.sign("renewed", "/CN=renewed", by: "ca", server, serial: 2)
    try self.sign("expired", "/CN=expired", by: "ca", server, serial: 3, days: -1)
    try self.sign("client", "/CN=client", by: "ca", client, serial: 4)
    try self.sign("strange-client", "/CN=client", by: "stranger", client, serial: 5)
  }

  private func sign(
    _ name: String, _ subject: String, by authority: String, _ extensions: String, serial: Int, days: Int = 10
  ) throws {
    try self.openssl(
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
      "-keyout", "\(name).key", "-out", "\(name).csr")
    _ = try self.write("\(name).extensions", extensions)
    try self.openssl(
      "x509", "-req", "-in", "\(name).csr", "-CA", "\(authority).pem", "-CAkey", "\(authority).key", "-set_serial",
      "\(serial)", "-sha256", "-days", "\(days)", "-extfile", "\(name).extensions", "-out", "\(name).pem")
  }

  /// Runs `openssl` in the folder.
  package func openssl(_ arguments: String...) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["openssl"] + arguments
    process.currentDirectoryURL = self.folder
    let errors = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = errors
    try process.run()
    let text = try errors.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Failure(
        description: "openssl \(arguments.joined(separator: " ")): \(String(decoding: text, as: UTF8.self))")
    }
  }
}
