/// Why a Snowflake id is not there yet, and when to ask again. Nothing is held while the caller waits.
public struct SnowflakeWait: Sendable, Hashable {
  /// What is waited for.
  public enum Reason: Sendable, Hashable {
    /// The sequence of the present tick is used up.
    case nextTick
    /// The clock stands further behind the ids than the generator may run ahead.
    case clock
  }

  /// The wall-clock reading, in milliseconds since the Unix epoch, from which on asking again makes sense.
  public let untilWallMilliseconds: Int64
  /// The wall clock as the generator read it, in milliseconds since the Unix epoch.
  public let nowWallMilliseconds: Int64
  /// What is waited for.
  public let reason: Reason

  /// How long the wait is by that reading, at least one millisecond.
  public var duration: Duration { .milliseconds(max(1, self.untilWallMilliseconds - self.nowWallMilliseconds)) }
}

/// The answer to one call for one Snowflake id.
public enum SnowflakeOutcome: Sendable, Hashable {
  /// An id above 0, larger than every id this generator gave out before.
  case id(Int64)
  /// None yet; ask again then, and when the caller's deadline comes first, answer
  /// ``SnowflakeGenerator/deadlineError(for:)``.
  case wait(SnowflakeWait)
  /// None: ``IDError/Code/leaseLost``, ``IDError/Code/clockBehind``, ``IDError/Code/exhausted`` or
  /// ``IDError/Code/notReady``.
  case failure(IDError)
}

/// The answer to one call for many Snowflake ids.
public enum SnowflakeBatchOutcome: Sendable, Hashable {
  /// At least one id and at most as many as were asked for, in ascending order, one range for each tick.
  case ids([IDRange])
  /// As for one id.
  case wait(SnowflakeWait)
  /// As for one id, and ``IDError/Code/invalidArgument`` for a count that is not allowed.
  case failure(IDError)
}
