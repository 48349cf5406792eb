package import Logging
package import MidRPC

/// The gRPC server's certificate over the life of the process: read at the start, again at each SIGHUP, and told of.
package struct TLSCertificates: Sendable {
  /// What connections take their certificate from, or nil where the server serves without TLS.
  package let context: RPCTLSContext?
  private let logger: Logger
  private let now: @Sendable () -> Int64

  /// Reads the files that the settings name.
  ///
  /// - Parameters:
  ///   - settings: the files, or nil for none.
  ///   - now: the time, in milliseconds since the Unix epoch.
  /// - Throws: everything that is wrong with the files, by setting.
  package init(
    _ settings: RPCTLS?, logger: Logger, now: @escaping @Sendable () -> Int64
  ) throws(ConfigurationErrors) {
    self.logger = logger
    self.now = now
    do throws(RPCTLSError) {
      self.context = try settings.map { settings throws(RPCTLSError) in try RPCTLSContext(settings) }
    } catch {
      throw ConfigurationErrors(error)
    }
    if let certificate = self.context?.certificate { self.tell("TLS certificate", certificate) }
  }

  /// Reads the files again. Where they are of no use, the certificate in use stays, and the log says why. Does nothing
  /// where the server serves without TLS.
  package func reload() {
    guard let context = self.context else { return }
    do throws(RPCTLSError) {
      self.tell("TLS certificate reloaded", try context.reload())
    } catch {
      for problem in ConfigurationErrors(error).errors {
        self.logger.error(
          "TLS certificate not reloaded, the old one stays in use",
          metadata: [
            "setting": "\(problem.key ?? "")", "reason": "\(problem.message)",
            "not_after": "\(LogTime.text(milliseconds: context.certificate.notAfter * 1000))",
          ])
      }
    }
  }

  /// Adds the certificate's end to what is read at each scrape.
  package func collect(in registry: PrometheusRegistry) {
    guard let context = self.context else { return }
    registry.collect { $0.write(MetricCatalogue.certificateExpiry, value: Double(context.certificate.notAfter)) }
  }

  private func tell(_ message: Logger.Message, _ certificate: RPCCertificate) {
    let metadata: Logger.Metadata = [
      "subject": "\(certificate.subject)", "names": "\(certificate.names.joined(separator: ","))",
      "not_after": "\(LogTime.text(milliseconds: certificate.notAfter * 1000))",
    ]
    self.logger.info(message, metadata: metadata)
    let now = self.now() / 1000
    if certificate.notAfter < now {
      self.logger.warning("the TLS certificate has expired, clients will refuse it", metadata: metadata)
    } else if certificate.notBefore > now {
      self.logger.warning(
        "the TLS certificate is not valid yet, clients will refuse it",
        metadata: metadata.merging(
          ["not_before": "\(LogTime.text(milliseconds: certificate.notBefore * 1000))"]) { $1 })
    }
  }
}
