internal import Synchronization

extension SnowflakeGenerator {
  static func noGrant(of worker: WorkerID) -> String {
    "worker id \(worker.number) has no time bound yet: its lease is still being taken"
  }

  /// Why the word is closed.
  func refusal() -> IDError { self.control.withLock { $0.reason } }

  func beforeEpoch(_ now: Int64) -> IDError {
    let epoch = WallTime(milliseconds: self.layout.epochMilliseconds)
    return IDError(.clockBehind, "the clock reads \(WallTime(milliseconds: now)), before the layout's epoch \(epoch)")
  }

  func endOfTime() -> IDError {
    IDError(.exhausted, "the layout's time ended at \(self.layout.endOfTimeDescription)")
  }

  func leaseEnded() -> IDError {
    IDError(
      .leaseLost,
      "the lease of worker id \(self.worker.number) has ended by this machine's monotonic clock: it was not renewed in "
        + "time, as the store was away or this process stood still")
  }

  func pastBound(_ bound: UInt64, now: Int64) -> IDError {
    let end = WallTime(milliseconds: self.layout.wallMilliseconds(ofTick: Int64(bound >> self.shift)))
    return IDError(
      .leaseLost,
      "the time bound of worker id \(self.worker.number) is \(end) and was not extended in time; "
        + "the clock reads \(WallTime(milliseconds: now))")
  }
}
