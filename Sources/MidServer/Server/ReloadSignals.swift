import Logging
import ServiceLifecycle
import UnixSignals

/// Has everything read again at each SIGHUP that can be, until graceful shutdown.
struct ReloadSignals: Service {
  /// What to call; must not block.
  let reload: @Sendable () -> Void
  let logger: Logger

  func run() async throws {
    let signals = await UnixSignalsSequence(trapping: .sighup)
    for await _ in signals.cancelOnGracefulShutdown() {
      self.logger.info("SIGHUP: reading the tag list and TLS files again")
      self.reload()
    }
  }
}
