package import MidRPC

extension ServerConfiguration.TLS {
  /// Whether gRPC is served over TLS.
  package var isOn: Bool { self.certificate != nil && self.key != nil }

  /// The files and rules of the gRPC server's TLS, or nil where it serves without.
  package var settings: RPCTLS? {
    guard let certificate = self.certificate, let key = self.key else { return nil }
    var tls = RPCTLS(certificateFile: certificate, keyFile: key)
    tls.clientCAFile = self.clientCA
    tls.clientCertificates = self.clientCertificates
    tls.minimumVersion = self.minimumVersion
    return tls
  }

  /// Tells what is allowed alone but not together.
  func conflicts(_ add: (any SettingDescription, String) -> Void) {
    let certificate = Settings.grpcTLSCertificate
    let key = Settings.grpcTLSKey
    let clientCA = Settings.grpcTLSClientCA
    let clientCertificates = Settings.grpcTLSClientCertificates
    switch (self.certificate, self.key) {
    case (.some, nil): add(certificate, "needs \(key.key), the certificate's private key")
    case (nil, .some): add(key, "needs \(certificate.key), the certificate that the key belongs to")
    case (nil, nil):
      let without = "does nothing without \(certificate.key) and \(key.key)"
      if self.clientCA != nil { add(clientCA, without) }
      if self.clientCertificates != .none { add(clientCertificates, without) }
      if self.minimumVersion != .tls12 { add(Settings.grpcTLSMinimumVersion, without) }
      return
    case (.some, .some): break
    }
    switch (self.clientCA, self.clientCertificates) {
    case (.some, .none):
      add(clientCA, "does nothing while \(clientCertificates.key) is none: set that to optional or required")
    case (nil, .optional), (nil, .required):
      add(
        clientCertificates,
        "\(self.clientCertificates.rawValue) needs \(clientCA.key), the authorities that sign clients' certificates")
    default: break
    }
  }
}

extension ConfigurationErrors {
  /// What is wrong with the files of TLS, by the settings that name them.
  init(_ error: RPCTLSError) {
    self.init(
      error.problems.map { problem in
        let setting: any SettingDescription =
          switch problem.role {
          case .certificate: Settings.grpcTLSCertificate
          case .key: Settings.grpcTLSKey
          case .authority: Settings.grpcTLSClientCA
          }
        return ConfigurationError(source: "settings", key: setting.key, message: "\(problem.path): \(problem.reason)")
      })
  }
}
