import MidCore
import MidServer

/// What a worker row says at a moment of the store's clock.
enum WorkerRowState: Sendable, Hashable {
  /// The lease goes on for so many milliseconds, 1 or more.
  case held(left: Int64)
  /// The lease was not renewed in time.
  case ended
  /// The holder gave it back: the bound is exact.
  case givenBack
  /// An operator freed it.
  case released

  /// Reads `record` at the store's `time`.
  init(_ record: WorkerRecord, at time: Int64) {
    switch record.expiresAt {
    case WorkerRecord.givenBack: self = .givenBack
    case ...WorkerRecord.freed: self = .released
    case let end where end > time: self = .held(left: SpanText.distance(from: time, to: end))
    default: self = .ended
    }
  }

  /// Whether nobody else can take the worker id now.
  var isHeld: Bool { if case .held = self { true } else { false } }

  /// For programs.
  var name: String {
    switch self {
    case .held: "held"
    case .ended: "ended"
    case .givenBack: "given_back"
    case .released: "released"
    }
  }
}

/// Worker rows as text: a table for people, JSON for programs. Ordered by worker id.
struct WorkerTable {
  private let list: WorkerList

  /// Takes what the store listed.
  init(_ list: WorkerList) {
    self.list = list
  }

  /// The table, a heading first.
  var lines: [String] {
    var table = TextTable(
      ("ID", .right), ("STATE", .left), ("TERM", .right), ("OWNER", .left), ("EXPIRES", .left), ("LEFT", .right),
      ("BOUND", .left), ("LAST_TICK", .left))
    for record in self.list.records {
      let state = WorkerRowState(record, at: self.list.storeTime)
      table.add([
        String(record.worker), state.isHeld ? "held" : "free", String(record.term), record.owner.description,
        Self.expiry(record, state), Self.left(state).map(SpanText.short) ?? "-",
        WallTime(milliseconds: record.bound).description,
        Self.lastTick(record, state).map { WallTime(milliseconds: $0).description } ?? "before BOUND",
      ])
    }
    return table.lines
  }

  private static func expiry(_ record: WorkerRecord, _ state: WorkerRowState) -> String {
    let time = WallTime(milliseconds: record.expiresAt).description
    return switch state {
    case .held: time
    case .ended: "ended \(time)"
    case .givenBack: "given back"
    case .released: "released"
    }
  }

  private static func left(_ state: WorkerRowState) -> Int64? {
    if case .held(let left) = state { left } else { nil }
  }

  /// The millisecond of the newest id, where the row tells.
  private static func lastTick(_ record: WorkerRecord, _ state: WorkerRowState) -> Int64? {
    state == .givenBack && record.bound > 0 ? record.bound - 1 : nil
  }

  /// A JSON array with an object a line. Times are there in milliseconds since the Unix epoch and as ISO 8601; null where
  /// the row does not tell them.
  var json: String {
    JSONText.array(
      self.list.records.map { record in
        let state = WorkerRowState(record, at: self.list.storeTime)
        let end = record.isLeased ? record.expiresAt : nil
        let last = Self.lastTick(record, state)
        return JSONText.object([
          "worker": String(record.worker), "state": JSONText.string(state.isHeld ? "held" : "free"),
          "lease": JSONText.string(state.name), "owner": JSONText.string(record.owner.description),
          "term": JSONText.string(String(record.term)),
          "expires_at": Self.iso(end), "expires_at_ms": Self.milliseconds(end),
          "lease_left_ms": Self.milliseconds(Self.left(state)),
          "bound": Self.iso(record.bound), "bound_ms": Self.milliseconds(record.bound),
          "last_tick": Self.iso(last), "last_tick_ms": Self.milliseconds(last),
        ])
      })
  }

  private static func iso(_ time: Int64?) -> String {
    JSONText.string(time.map { WallTime(milliseconds: $0).description })
  }

  private static func milliseconds(_ time: Int64?) -> String { JSONText.string(time.map { String($0) }) }
}
