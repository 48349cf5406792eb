import MidCore
import MidServer

/// What a run does, checked and complete.
struct BenchPlan: Sendable, Hashable {
  /// Which of the service's methods is called.
  enum Method: String, Sendable, CaseIterable {
    /// `pb.IDMaker/MakeIDService`, the call of the Go original's clients.
    case pb
    /// `mid.v1.IDService`.
    case v1
  }

  /// When the run ends.
  enum Length: Sendable, Hashable {
    /// After this long; calls under way by then are waited for.
    case duration(Duration)
    /// After this many calls.
    case calls(Int)
  }

  /// What is checked of the ids.
  enum Check: String, Sendable, CaseIterable {
    /// That they are positive, distinct, and grow as promised.
    case all
    /// That they are positive and distinct: for an address with several nodes behind it.
    case distinct
    /// That they are positive; takes no memory.
    case off
  }

  /// The kind of ids.
  var mode = ModeArgument.snowflake
  /// The space of segment ids; empty means `default`.
  var tag = ""
  var method = Method.pb
  /// Ids a call, nil for the call that answers one.
  var batch: Int?
  /// Whether batches go over `StreamIDs`: one stream for each call in flight.
  var isStream = false
  /// Connections, 1 or more.
  var connections = 8
  /// Calls in flight on each connection, 1 or more.
  var inFlight = 32
  var length = Length.duration(.seconds(10))
  /// Calls a second over all connections; nil for as many as the server answers.
  var rate: Double?
  /// How long a call may take before it counts as failed, and how long the server may be away.
  var timeout = Duration.seconds(5)
  var check = Check.all
  /// How much memory the check of distinctness may take, in bytes.
  var checkMemory = 1500 << 20

  /// Service and method.
  var path: String {
    switch self.method {
    case .pb: "/pb.IDMaker/MakeIDService"
    case .v1 where self.isStream: "/mid.v1.IDService/StreamIDs"
    case .v1 where self.batch != nil: "/mid.v1.IDService/GenerateBatch"
    case .v1: "/mid.v1.IDService/GenerateID"
    }
  }

  /// The request's message.
  var message: [UInt8] {
    switch self.method {
    case .pb: IDRequest(mode: self.mode.rawValue).encoded()
    case .v1:
      if let batch = self.batch {
        GenerateBatchRequest(mode: self.mode.rawValue, tag: self.tag, count: UInt32(batch)).encoded()
      } else {
        GenerateIDRequest(mode: self.mode.rawValue, tag: self.tag).encoded()
      }
    }
  }
}
