/// What runs that ask for the same kind of ids have been given, one after the other: an id must not come again in a later
/// run, and must be above every id of the runs before.
///
/// The logs stay in memory; the caller takes ``bytes`` off what the next run may use.
struct IDHistory: Sendable {
  /// The largest id so far.
  let highest = HighestID()
  private var logs: [IDLog] = []

  /// The memory that the logs take.
  var bytes: Int { self.logs.reduce(0) { $0 + $1.bytes } }

  /// Takes in a run's logs, which must be finished, and tells which of their ids had been given out before: in that run
  /// or in an earlier one.
  mutating func add(_ logs: [IDLog]) -> DuplicateSearch {
    let search = DuplicateSearch(logs, earlier: self.logs)
    self.logs += logs
    return search
  }
}
