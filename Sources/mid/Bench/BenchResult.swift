import MidRPC

/// What came of a run.
struct BenchResult: Sendable {
  /// What the check of distinctness came to.
  enum Distinctness: Sendable, Hashable {
    /// It was not asked for.
    case off
    /// All `ids` were compared with each other and with those of earlier runs; `missed` more found no room in memory.
    case searched(ids: Int, missed: Int, duplicates: Int, examples: [Int64])
  }

  var server: String
  var plan: BenchPlan
  /// From the first call's start to the last one's end.
  var seconds: Double
  var record: BenchRecorder.Record
  var broken: BrokenPromises
  var distinctness: Distinctness
  /// Whether it was ended from the keyboard.
  var isInterrupted = false

  /// Calls that went well.
  var calls: Int { self.record.calls }
  /// Calls that failed.
  var errors: Int { self.record.errors.values.reduce(0, +) }
  /// Calls a second, of those that went well.
  var callsPerSecond: Double { self.seconds > 0 ? Double(self.calls) / self.seconds : 0 }
  /// Ids a second.
  var idsPerSecond: Double { self.seconds > 0 ? Double(self.record.ids) / self.seconds : 0 }
  /// Ids that had been given out before.
  var duplicates: Int {
    if case .searched(_, _, let duplicates, _) = self.distinctness { duplicates } else { 0 }
  }

  /// Ids that found no room in memory, so that they were compared with no other.
  var missed: Int {
    if case .searched(_, let missed, _, _) = self.distinctness { missed } else { 0 }
  }

  /// Whether every promise about the ids was kept, as far as it was looked at.
  var areIDsGood: Bool {
    self.broken.notPositive == 0 && self.broken.outOfOrder == 0 && self.broken.malformed == 0 && self.duplicates == 0
  }

  /// Whether every call that was due was made. Else the run has not measured what it was asked to.
  var isRateReached: Bool { self.record.unsent == 0 }

  /// Whether all went well: no call failed, no promise was broken as far as it was looked at, at least one call was
  /// answered, and the rate was reached.
  var isGood: Bool { self.errors == 0 && self.areIDsGood && self.calls > 0 && self.isRateReached }
}
