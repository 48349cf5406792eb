/// The version of this build.
package enum MidVersion {
  /// Semantic version, as `mid --version`, the client's `user-agent` and the metrics show it.
  package static let current = "0.1.0"
}
