/// What a caller wants to find again when its call ends. Times are in nanoseconds of the event loop's clock.
struct CallTicket: Sendable, Hashable {
  /// When the call was due: latency counts from here.
  var due: UInt64 = 0
  /// When the request was handed to the connection: its time to wait for an answer counts from here.
  var sent: UInt64 = 0
  /// The largest id that had been answered when the request was sent.
  var floor: Int64 = 0
  /// How many ids of the reply were looked at.
  var ids = 0
  /// Whether a request is out that has no reply yet.
  var isPending = true
}

/// A call under way, as its connection sees it.
struct ClientCall {
  /// 0 for a place in the table that is free.
  var streamID: UInt32 = 0
  /// What we may send on the stream.
  var sendWindow: Int32 = 0
  /// What the server may send on the stream.
  var receiveWindow: Int32 = 0
  /// Bytes of the request's DATA that wait for a window.
  var unsent: Int32 = 0
  /// Replies that came whole.
  var replies: Int32 = 0
  /// Whether the response's headers have come.
  var hasHeaders = false
  /// Whether a part of a reply is kept until its rest comes.
  var hasBody = false
  /// Whether our END_STREAM has left, or leaves with the last of the unsent bytes.
  var endsStream = true
  var ticket = CallTicket()
}

/// The calls of a connection by stream: a hash table with linear probing, no allocation once it is large enough.
///
/// A client's streams have the numbers 1, 3, 5 and so on, so that calls that end in about the order of their beginning
/// never meet in a place.
struct ClientCallTable {
  private var slots: ContiguousArray<ClientCall>
  private var mask: Int
  private(set) var count = 0

  /// Creates a table for `calls` at once; it grows where there are more.
  init(calls: Int = 16) {
    var capacity = 16
    while capacity < calls * 2 { capacity *= 2 }
    self.slots = ContiguousArray(repeating: ClientCall(), count: capacity)
    self.mask = capacity - 1
  }

  /// The call in a slot that ``find(_:)`` told.
  @inline(__always)
  subscript(slot: Int) -> ClientCall {
    _read { yield self.slots[slot] }
    _modify { yield &self.slots[slot] }
  }

  /// The slot of a stream's call. Slots hold until the next insertion or removal.
  @inline(__always)
  func find(_ streamID: UInt32) -> Int? {
    var slot = Int(streamID >> 1) & self.mask
    while true {
      let found = self.slots[slot].streamID
      if found == streamID { return found == 0 ? nil : slot }
      if found == 0 { return nil }
      slot = (slot + 1) & self.mask
    }
  }

  /// Takes in a call whose stream is not there yet.
  @inline(__always)
  mutating func insert(_ call: ClientCall) {
    if (self.count + 1) * 2 > self.slots.count { self.grow() }
    self.place(call)
    self.count += 1
  }

  /// Removes the call in a slot. Those behind it move up, so that none is cut off from its place.
  @inline(__always)
  mutating func remove(_ slot: Int) {
    var hole = slot
    var next = (slot + 1) & self.mask
    while self.slots[next].streamID != 0 {
      let home = Int(self.slots[next].streamID >> 1) & self.mask
      // It may move into the hole unless its own place lies behind the hole.
      if (next - home) & self.mask >= (next - hole) & self.mask {
        self.slots[hole] = self.slots[next]
        hole = next
      }
      next = (next + 1) & self.mask
    }
    self.slots[hole].streamID = 0
    self.count -= 1
  }

  /// All streams with a call, in the order of their beginning.
  var streams: [UInt32] { self.slots.lazy.map(\.streamID).filter { $0 != 0 }.sorted() }

  /// Changes every call.
  mutating func updateEach(_ body: (inout ClientCall) -> Void) {
    for slot in self.slots.indices where self.slots[slot].streamID != 0 { body(&self.slots[slot]) }
  }

  private mutating func place(_ call: ClientCall) {
    var slot = Int(call.streamID >> 1) & self.mask
    while self.slots[slot].streamID != 0 { slot = (slot + 1) & self.mask }
    self.slots[slot] = call
  }

  private mutating func grow() {
    let old = self.slots
    self.slots = ContiguousArray(repeating: ClientCall(), count: old.count * 2)
    self.mask = self.slots.count - 1
    for call in old where call.streamID != 0 { self.place(call) }
  }
}
