import MidCore

/// From which time on a node may issue after it took its worker id: above whatever an earlier holder can have issued.
enum WorkerFloor {
  /// The floor in milliseconds since the Unix epoch, 0 where nothing was ever issued.
  ///
  /// - Parameters:
  ///   - file: what this folder remembered before the claim.
  ///   - previous: the row as it stood before the claim, or nil where there was none.
  ///   - token: what this node claims under.
  static func floor(file: WorkerState, previous: WorkerRecord?, token: String) -> Int64 {
    guard let previous else { return file.bound }
    // Our own row: the file's bound is the exact one, as it was stored before anything up to it was issued. But only
    // where the file is as young as the row: one that was copied back from a backup knows of an earlier term. A claim of
    // ours whose answer was lost is one term further on; with more than one between, another node may have been there.
    let isOwn = previous.owner.token == token
    let isOfTerm = previous.term == file.term || (file.isClaiming && previous.term == file.term + 1)
    // And only where the row's bound is the one this file knows: a backup of the same term has missed renewals since.
    let isOfRenewal = previous.bound == file.rowBound || previous.bound == file.askedBound
    return isOwn && isOfTerm && isOfRenewal ? file.bound : max(file.bound, previous.bound)
  }
}
