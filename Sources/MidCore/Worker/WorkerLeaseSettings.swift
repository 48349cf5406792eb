/// Which worker id a node wants.
public enum WorkerWish: Sendable, Hashable {
  /// This one and no other: from the configuration, or the ordinal at the end of the host's name.
  case fixed(Int64)
  /// Any that is free among these.
  case any(ClosedRange<Int64>)
}

/// The times of a worker id's lease, in milliseconds.
public struct WorkerLeaseSettings: Sendable, Hashable {
  /// How far ahead the expiry and the bound in the store are kept: how long a node lives without its store. At least 1.
  public var lease: Int64
  /// How often the store's are renewed, at most a third of ``lease``.
  public var renewal: Int64
  /// How far ahead the bound in the data folder is kept: what a restart after a crash waits at most.
  public var localBound: Int64
  /// How far ids may run ahead of the clock.
  public var ahead: Int64
  /// How long a node that can have another id waits for the clock to come back to its ids, beyond ``ahead``.
  public var patience: Int64

  /// Creates settings.
  public init(lease: Int64, renewal: Int64, localBound: Int64, ahead: Int64, patience: Int64) {
    self.lease = lease
    self.renewal = renewal
    self.localBound = localBound
    self.ahead = ahead
    self.patience = patience
  }

  /// How much sooner than the store the holder takes its lease for ended, for clocks that run at different rates: a
  /// tenth of the lease, 5 s at most.
  public var margin: Int64 { min(self.lease / 10, 5000) }
}
