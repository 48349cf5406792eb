import MidCore
import MidServer

/// Judges the data folder: usable, whose worker id it remembers, and how its time bound stands to the clock.
struct FolderCheck {
  static let name = "folder"

  /// What was found.
  enum Look: Sendable, Hashable {
    /// There is no folder; whether this user could make it.
    case absent(canBeMade: Bool)
    /// There is a folder without a worker state; whether this user could write it.
    case empty(canBeWritten: Bool)
    /// There is a worker state; whether this user could write it.
    case state(WorkerStateReading, canBeWritten: Bool)
    /// There is a worker state that can't be read, and why.
    case unreadable(String)
  }

  /// `data.directory`.
  var folder: String
  var look: Look
  /// Whether the worker id is fixed.
  var isFixed: Bool
  /// This machine's clock, in milliseconds since the Unix epoch.
  var now: Int64
  var settings: WorkerLeaseSettings

  /// One finding.
  var findings: [Finding] {
    let advice = "set data.directory to a folder that mid serve's user can write"
    switch self.look {
    case .absent(canBeMade: true):
      return [.warn(Self.name, "there is no data folder at \(self.folder)", "mid serve makes it at its first start")]
    case .absent(canBeMade: false):
      return [.fail(Self.name, "there is no data folder at \(self.folder), and this user can't make it", advice)]
    case .empty(canBeWritten: true): return [.ok(Self.name, "\(self.folder) holds no worker id yet")]
    case .empty(canBeWritten: false): return [.fail(Self.name, "\(self.folder) can't be written by this user", advice)]
    case .unreadable(let reason):
      return [
        .fail(
          Self.name, reason,
          "run mid doctor as mid serve's user; a file that is damaged goes to be looked at, not away: it holds the time "
            + "bound")
      ]
    case .state(let reading, let canBeWritten):
      guard canBeWritten else { return [.fail(Self.name, "\(reading.path) can't be written by this user", advice)] }
      return [self.judge(reading)]
    }
  }

  private func judge(_ reading: WorkerStateReading) -> Finding {
    let server = reading.isLocked ? "a server is running on this folder" : "no server is running on this folder"
    guard let memory = reading.state?.memory, let worker = memory.worker else {
      return .ok(Self.name, "\(reading.path): \(server); it holds no worker id yet")
    }
    let ahead = SpanText.distance(from: self.now, to: memory.bound)
    let span = SpanText.short(ahead)
    let found =
      "\(reading.path): \(server); worker id \(worker), term \(memory.term), ids below "
      + "\(WallTime(milliseconds: memory.bound)), \(ahead > 0 ? "\(span) ahead of" : "\(span) behind") the clock"
    // The bound is stored so far ahead of the clock, or of ids that run ahead of it.
    guard ahead > self.settings.localBound + self.settings.ahead else { return .ok(Self.name, found) }
    let why = "\(found): the clock was set back"
    return self.isFixed
      ? .fail(Self.name, why, "set it right; Snowflake ids wait until it has passed that time")
      : .warn(Self.name, why, "set it right; mid serve takes another worker id until then")
  }
}
