import MidCore
import MidRPC
import MidServer

/// Judges the files of TLS.
struct CertificateCheck {
  static let name = "tls"
  /// So long before its end a certificate should be renewed.
  private static let notice: Int64 = 14 * 86_400

  /// What was read, or everything that is wrong with the files.
  var certificate: Result<RPCCertificate, ConfigurationErrors>
  /// This machine's clock, in seconds since the Unix epoch.
  var now: Int64

  /// At least one finding.
  var findings: [Finding] {
    switch self.certificate {
    case .failure(let errors):
      return errors.errors.map { .fail(Self.name, $0.description, "mid serve does not start before that is mended") }
    case .success(let certificate):
      let (start, end) = (certificate.notBefore, certificate.notAfter)
      let time = WallTime(milliseconds: end * 1000)
      let found = "the certificate for \(certificate.names.joined(separator: ", "))"
      let renew = "renew it, then send mid serve SIGHUP"
      if self.now < start {
        return [.fail(Self.name, "\(found) begins only \(WallTime(milliseconds: start * 1000))", "look at the clock")]
      }
      if self.now >= end { return [.fail(Self.name, "\(found) has ended \(time)", renew)] }
      if end - self.now < Self.notice { return [.warn(Self.name, "\(found) ends \(time)", renew)] }
      return [.ok(Self.name, "\(found) is good until \(time)")]
    }
  }
}
