#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An address that can't be listened on, as one line that says what to do.
package struct ListenError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The line: `metrics address 127.0.0.1:9190 is in use …`.
  package let description: String

  /// Creates the error for a system error number of `bind` or `listen`.
  ///
  /// - Parameter purpose: The setting's name without `.address`: `grpc`, `metrics`.
  package init(purpose: String, address: HostPort, errno code: Int32) {
    let reason =
      switch code {
      case EADDRINUSE: "is in use: stop the program that has it, or set \(purpose).address to another port"
      case EACCES: "may not be used: ports below 1024 need a right of their own; set \(purpose).address to another port"
      case EADDRNOTAVAIL: "is no address of this machine: set \(purpose).address to one that is"
      default: "can't be used: \(SystemError.text(code))"
      }
    self.init(purpose: purpose, address: address, reason: reason)
  }

  /// Creates the error with a reason that completes the sentence.
  package init(purpose: String, address: HostPort, reason: String) {
    self.description = "\(purpose) address \(address) \(reason)"
  }
}

/// The system's words for its error numbers.
enum SystemError {
  /// `Connection refused` for ECONNREFUSED.
  static func text(_ code: Int32) -> String {
    String(cString: strerror(code))
  }
}
