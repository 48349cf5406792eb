import MidRPC

/// What the connections of one event loop have seen. Used on that event loop only.
final class BenchRecorder {
  /// A few numbers, for the progress of a run.
  struct Progress: Sendable {
    var calls = 0
    var ids = 0
    var errors = 0
  }

  /// Everything, once the run is over.
  struct Record: Sendable {
    /// How long the calls took that went well, and how long those had waited that were due and never made.
    var latency = LatencyRecord()
    /// Calls that failed, by code, with the first message of each.
    var errors: [RPCStatus.Code: Int] = [:]
    var messages: [RPCStatus.Code: String] = [:]
    /// Ids in the replies of calls that went well.
    var ids = 0
    /// Calls that were made again because the server had not looked at them.
    var repeated = 0
    /// Connections that ended before the run did: with GOAWAY, and without.
    var drained = 0
    var lost = 0
    /// Connections that were given up because the server was away for too long.
    var givenUp = 0
    /// Calls that were due and never made.
    private(set) var unsent = 0
    /// When the last call ended, in nanoseconds of the event loops' clock.
    var lastEnd: UInt64 = 0

    /// Calls that went well.
    var calls: Int { self.latency.count - self.unsent }

    /// Takes in calls that were due and are never made. They would have taken at least as long as they have waited:
    /// without them the percentiles would lack just the worst.
    mutating func add(_ unsent: CallSchedule.Unsent) {
      self.latency.record(unsent.waited, calls: unsent.calls)
      self.unsent += unsent.calls
    }

    /// Adds another event loop's.
    mutating func add(_ other: Record) {
      self.latency.add(other.latency)
      self.errors.merge(other.errors, uniquingKeysWith: +)
      self.messages.merge(other.messages) { first, _ in first }
      self.ids += other.ids
      self.repeated += other.repeated
      self.drained += other.drained
      self.lost += other.lost
      self.givenUp += other.givenUp
      self.unsent += other.unsent
      self.lastEnd = max(self.lastEnd, other.lastEnd)
    }
  }

  var record = Record()
  var checker: IDChecker

  /// Creates an empty recorder.
  init(_ plan: BenchPlan, shared: HighestID) {
    self.checker = IDChecker(plan, shared: shared)
  }

  /// A call went well.
  @inline(__always)
  func succeeded(_ ticket: CallTicket, at now: UInt64) {
    self.record.latency.record(now > ticket.due ? now - ticket.due : 0)
    self.record.ids += ticket.ids
    self.record.lastEnd = max(self.record.lastEnd, now)
  }

  /// A call failed.
  func failed(_ status: RPCStatus, at now: UInt64) {
    self.record.errors[status.code, default: 0] += 1
    if self.record.messages[status.code] == nil { self.record.messages[status.code] = status.message }
    self.record.lastEnd = max(self.record.lastEnd, now)
  }

  /// Where the run stands.
  var progress: Progress {
    Progress(
      calls: self.record.calls, ids: self.record.ids, errors: self.record.errors.values.reduce(0, +))
  }
}
