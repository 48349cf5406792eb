/// Waits until the task is cancelled, in the place of a sleep that has no end but that.
///
/// - Throws: `CancellationError`, always.
public func untilCancelled() async throws {
  let (stream, continuation) = AsyncStream<Never>.makeStream()
  for await _ in stream {}
  withExtendedLifetime(continuation) {}
  throw CancellationError()
}
