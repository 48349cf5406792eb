import MidCore

/// Judges the leases of worker ids: whether this configuration can have one.
struct WorkerCheck {
  static let name = "worker"

  /// Which one the configuration wants.
  var wish: WorkerWish
  /// The store's rows and its time.
  var list: WorkerList
  /// The owner's token of a server on this data folder, or nil where there was none yet.
  var ownToken: String?
  /// Whether the folder could be read, so that it is known who this node is.
  var isFolderKnown = true

  /// One finding.
  var findings: [Finding] {
    switch self.wish {
    case .fixed(let worker): [self.fixed(worker)]
    case .any(let range): [self.leased(range)]
    }
  }

  private func fixed(_ worker: Int64) -> Finding {
    guard let row = self.list.records.first(where: { $0.worker == worker }) else {
      return .ok(Self.name, "worker id \(worker) is free: nobody ever held it")
    }
    let owner = row.owner.description
    switch WorkerRowState(row, at: self.list.storeTime) {
    case .givenBack: return .ok(Self.name, "worker id \(worker) is free: \(owner) gave it back")
    case .released: return .ok(Self.name, "worker id \(worker) is free: it was released from \(owner)")
    case .ended: return .ok(Self.name, "worker id \(worker) is free: the lease of \(owner) has ended")
    case .held(let left):
      let lease = "until \(WallTime(milliseconds: row.expiresAt)) (\(SpanText.short(left)) more), in term \(row.term)"
      if row.owner.token == self.ownToken {
        return .ok(Self.name, "worker id \(worker) is held by this data folder (\(owner)) \(lease)")
      }
      let found = "worker id \(worker) is held by \(owner) \(lease)"
      guard self.isFolderKnown else {
        return .warn(Self.name, found, "run mid doctor as mid serve's user to see whether that is this node")
      }
      return .fail(
        Self.name, found,
        "give this node another worker.id, or stop that one; if that one is this node, which lost its data folder, wait"
      )
    }
  }

  private func leased(_ range: ClosedRange<Int64>) -> Finding {
    let rows = self.list.records.filter { range.contains($0.worker) }
    let held = rows.filter { WorkerRowState($0, at: self.list.storeTime).isHeld }
    let ended = rows.count { WorkerRowState($0, at: self.list.storeTime) == .ended }
    let total = range.upperBound - range.lowerBound + 1
    var found =
      "worker ids \(range.lowerBound) to \(range.upperBound): \(held.count) held, \(rows.count - held.count - ended) given "
      + "back or released, \(ended) with a lease that has ended, \(total - Int64(rows.count)) never used"
    if let own = held.first(where: { $0.owner.token == self.ownToken }) {
      return .ok(Self.name, "\(found); this data folder holds \(own.worker)")
    }
    if held.count < total {
      guard total >= 10, Int64(held.count) > total - total / 10 else { return .ok(Self.name, found) }
      return .warn(Self.name, found, "they are nearly used up: widen worker.range, or stop nodes that nobody needs")
    }
    let first = held.map(\.expiresAt).min() ?? 0
    found += "; the first lease ends \(WallTime(milliseconds: first)), that of \(Self.names(held))"
    let advice = "widen worker.range, stop a node that nobody needs, or wait for the lease of one that crashed"
    return self.isFolderKnown ? .fail(Self.name, found, advice) : .warn(Self.name, found, advice)
  }

  /// The holders whose leases end first.
  private static func names(_ held: [WorkerRecord]) -> String {
    let names = held.sorted { $0.expiresAt < $1.expiresAt }.prefix(3).map { "\($0.worker): \($0.owner.description)" }
    return names.joined(separator: "; ") + (held.count > 3 ? " and others" : "")
  }
}

/// Judges the bounds of the rows against this machine's clock: those that lie further ahead than a lease explains tell of
/// a clock that was set back, or of a holder's that was ahead.
struct WorkerBoundCheck {
  static let name = "worker.bounds"

  var wish: WorkerWish
  var list: WorkerList
  /// This machine's clock, in milliseconds since the Unix epoch.
  var now: Int64
  var settings: WorkerLeaseSettings
  /// `clock.max_offset`, in milliseconds.
  var maximumOffset: Int64

  /// One finding.
  var findings: [Finding] {
    let late = self.list.records.filter { SpanText.distance(from: self.now, to: $0.bound) > self.allowance($0) }
      .sorted { ($1.bound, $0.worker) < ($0.bound, $1.worker) }
    guard let furthest = late.first else {
      return [.ok(Self.name, "no worker id's ids lie ahead of this clock, beyond their lease")]
    }
    var fixed: WorkerRecord?
    if case .fixed(let worker) = self.wish { fixed = late.first { $0.worker == worker } }
    let shown = fixed ?? furthest
    let more = late.count > 1 ? " (and \(late.count - 1) more)" : ""
    let span = SpanText.short(SpanText.distance(from: self.now, to: shown.bound))
    let found =
      "ids of worker id \(shown.worker)\(more) may reach \(WallTime(milliseconds: shown.bound)), \(span) ahead of this "
      + "machine's clock: it was set back, or is behind, or the holder's was ahead"
    guard fixed == nil else {
      return [.fail(Self.name, found, "set the clock right; Snowflake ids of this worker id wait until then")]
    }
    return [.warn(Self.name, found, "set the clock right; nobody issues under those worker ids until then")]
  }

  /// How far ahead of the clock a row's bound may lie.
  private func allowance(_ row: WorkerRecord) -> Int64 {
    let slack = self.settings.ahead + self.maximumOffset
    return switch WorkerRowState(row, at: self.list.storeTime) {
    case .givenBack, .ended: slack
    case .held, .released: self.settings.lease + slack
    }
  }
}
