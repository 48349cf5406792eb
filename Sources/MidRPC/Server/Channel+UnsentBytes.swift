package import NIOCore

extension Channel {
  /// How many bytes were written and not taken by the system yet, 0 where the channel is closed. On its event loop.
  package var unsentBytes: Int {
    do {
      return try self.syncOptions?.getOption(.bufferedWritableBytes) ?? 0
    } catch {
      return 0  // The channel is closed: it holds nothing.
    }
  }
}
