import MidCore

/// Whether a worker id is released, as its row looks, and what is told of it.
struct WorkerRelease {
  /// What to do.
  enum Decision {
    /// Nothing: this is why.
    case refused(CommandFailure)
    /// Nothing, as it is free: this is what to say.
    case free(String)
    /// Free the row, if it still has this term.
    case release(term: Int64)
  }

  private let worker: Int64
  private let force: Bool
  private let list: WorkerList

  /// Takes what the store listed.
  init(of worker: Int64, force: Bool, in list: WorkerList) {
    self.worker = worker
    self.force = force
    self.list = list
  }

  /// What to do.
  var decision: Decision {
    guard let row = self.list.records.first(where: { $0.worker == self.worker }) else {
      return .refused(
        CommandFailure(
          "no node ever held worker id \(self.worker) in this store, so it is free; `mid worker list` shows those that "
            + "were held"))
    }
    let owner = TerminalText.plain(row.owner.description)
    switch WorkerRowState(row, at: self.list.storeTime) {
    case .givenBack: return .free("worker id \(self.worker) is free already: \(owner) gave it back")
    case .released: return .free("worker id \(self.worker) is free already: it was released from \(owner)")
    case .ended: return .release(term: row.term)
    case .held(let left):
      guard self.force else { return .refused(CommandFailure(self.refusal(row, owner, left))) }
      return .release(term: row.term)
    }
  }

  private func refusal(_ row: WorkerRecord, _ owner: String, _ left: Int64) -> String {
    let bound = WallTime(milliseconds: row.bound)
    return "worker id \(self.worker) is held by \(owner), in term \(row.term), until "
      + "\(WallTime(milliseconds: row.expiresAt)) by the store's clock, \(SpanText.short(left)) from now. Stop that node, "
      + "or wait. With --force it is released all the same: that node stops issuing at its next renewal, below \(bound), "
      + "and the next holder's ids begin there"
  }

  /// What is told of a row that was freed.
  static func lines(_ change: WorkerClaim) -> [String] {
    let (row, time) = (change.current, change.storeTime)
    let previous = change.previous ?? row
    let owner = TerminalText.plain(previous.owner.description)
    let end = WallTime(milliseconds: previous.expiresAt)
    var lines: [String] = []
    switch WorkerRowState(previous, at: time) {
    case .givenBack, .released: lines.append("worker id \(row.worker) is free already; \(owner) held it last")
    case .ended:
      lines.append(
        "released worker id \(row.worker): the lease of \(owner) in term \(row.term) had ended \(end), so it was free "
          + "for the taking already")
    case .held(let left):
      lines.append(
        "released worker id \(row.worker), which \(owner) held in term \(row.term) until \(end) "
          + "(\(SpanText.short(left)) more)")
      lines.append("if that node is alive, it stops at its next renewal, and takes the id again if nobody else has")
    }
    let wait = SpanText.distance(from: time, to: row.bound)
    lines.append(
      "the next holder's ids begin at \(WallTime(milliseconds: row.bound))"
        + (wait > 0 ? ", \(SpanText.short(wait)) from now by the store's clock" : ", which is past"))
    return lines
  }
}
