/// One thing that is wrong with the configuration.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Where it was said: `mid.yaml:3`, `--grpc` or `MID_GRPC_ADDRESS`.
  package var source: String
  /// The setting's key, or nil where the problem belongs to no one setting.
  package var key: String?
  /// What is wrong, with the bad value unless it is a secret, and what is allowed.
  package var message: String

  /// Creates an error.
  package init(source: String, key: String?, message: String) {
    self.source = source
    self.key = key
    self.message = message
  }

  /// `source: key: message`, one line.
  package var description: String {
    guard let key = self.key else { return "\(self.source): \(self.message)" }
    return "\(self.source): \(key): \(self.message)"
  }
}

/// Everything that is wrong with the configuration, found in one go.
package struct ConfigurationErrors: Error, Sendable, Equatable, CustomStringConvertible {
  /// The errors, at least one: flags first, then the environment, then the file by line.
  package var errors: [ConfigurationError]

  /// Creates the list.
  package init(_ errors: [ConfigurationError]) {
    self.errors = errors
  }

  /// One error a line.
  package var description: String {
    self.errors.map(\.description).joined(separator: "\n")
  }
}
