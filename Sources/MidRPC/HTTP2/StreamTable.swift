/// One open stream. Plain data without references, so that opening and closing one costs no reference counting.
struct StreamState {
  /// The stream's number; 0 marks a free slot of the table.
  var id: UInt32 = 0
  /// Where the request's head leads: an index into the method table, or one of the negative marks of ``RequestHead``.
  var route: Int32 = 0
  /// How many bytes the peer lets us send on this stream. May be negative after a SETTINGS change.
  var sendWindow: Int32 = 0
  /// How many bytes we let the peer send on this stream.
  var receiveWindow: Int32 = 0
  /// When the caller stops waiting, in nanoseconds of the machine's clock, `UInt64.max` for never.
  var deadline: UInt64 = .max
  /// When the stream was opened, or last moved where it carries many messages or its response is held: nanoseconds of
  /// the machine's clock.
  var movedAt: UInt64 = 0
  /// The body's length that the request's head announced, -1 for none.
  var contentLength: Int32 = -1
  /// How many bytes of DATA are kept free for an answer that comes later.
  var reserved: Int32 = 0
  /// The client has sent END_STREAM.
  var isRemoteClosed = false
  /// The call carries many messages.
  var isStreaming = false
  /// A message was handed over whose answer comes later.
  var isAwaitingReply = false
  /// A part of the response waits in the table of held responses.
  var isHeld = false
  /// A message waits for room for its answer; where it was handed over, its answer does.
  var isParked = false
  /// The response's headers have left.
  var hasSentHeaders = false
  /// A part of the request's message waits in the table of bodies.
  var hasBody = false
  /// The response stands in line for the connection's window.
  var isInTurn = false
}

/// The open streams of a connection, by number: open addressing with linear probing and backward-shift deletion.
///
/// Client streams are odd and grow by two, so `id / 2` spreads perfectly: as long as no stream lives so long that the
/// numbers have come round the table, every stream stands at its home and opening, finding and closing one touches one
/// slot. A client that leaves numbers out so that all want one slot, or keeps streams for long, has its numbers hashed
/// from then on, with a seed that it does not know.
///
/// The table doubles as it fills, up to four times the connection's stream limit. An empty one that is large is given
/// back at once, one of middle size at ``trim()``.
struct StreamTable {
  private static let smallest = 8
  /// The largest table that an empty one is kept as, 24 KiB: bursts of up to 256 calls do not grow it again and again.
  private static let largestKept = 512

  private var slots: ContiguousArray<StreamState>
  private var mask: Int
  private(set) var count = 0
  /// How many streams do not stand at their home. While there is none, nobody has to move when one is removed.
  private(set) var displaced = 0
  /// Whether homes are hashed, since streams stood too far from them.
  private var isHashed = false

  /// How far from its home a stream may stand before numbers are hashed.
  private static let farthest = 16
  /// Not to be guessed.
  private static let seed = UInt32.random(in: 0 ... .max)

  /// How many slots there are, 48 bytes each.
  var capacity: Int { self.slots.count }

  init() {
    self.slots = ContiguousArray(repeating: StreamState(), count: Self.smallest)
    self.mask = Self.smallest - 1
  }

  @inline(__always)
  private func home(_ id: UInt32) -> Int {
    self.isHashed ? self.hashedHome(id) : Int(id >> 1) & self.mask
  }

  /// The finaliser of MurmurHash3 (Appleby, 2011): numbers in any progression come out as if they were random.
  @inline(never)
  private func hashedHome(_ id: UInt32) -> Int {
    var hash = id ^ Self.seed
    hash = (hash ^ hash >> 16) &* 0x85eb_ca6b
    hash = (hash ^ hash >> 13) &* 0xc2b2_ae35
    return Int(hash ^ hash >> 16) & self.mask
  }

  /// The slot of stream `id`, or nil. Valid until the next insertion or removal.
  @inline(__always)
  func find(_ id: UInt32) -> Int? {
    var slot = self.home(id)
    while true {
      let found = self.slots[slot].id
      if found == id { return slot }
      if found == 0 { return nil }
      slot = (slot + 1) & self.mask
    }
  }

  /// How far stream `id` stands from its home, or nil.
  func distance(of id: UInt32) -> Int? {
    self.find(id).map { ($0 &- self.home(id)) & self.mask }
  }

  @inline(__always)
  subscript(slot: Int) -> StreamState {
    get { self.slots[slot] }
    set { self.slots[slot] = newValue }
    _modify { yield &self.slots[slot] }
  }

  /// Adds a stream whose number is not in the table.
  @inline(__always)
  mutating func insert(_ stream: StreamState) {
    if self.count * 2 >= self.slots.count { self.resize(to: self.slots.count * 2) }
    self.count += 1
    guard self.place(stream) > Self.farthest, !self.isHashed else { return }
    self.isHashed = true
    self.resize(to: self.slots.count)
  }

  /// Removes the stream in `slot`, and moves those that had to give way to it back.
  @inline(__always)
  mutating func remove(at slot: Int) {
    self.count -= 1
    if self.displaced == 0 {
      self.slots[slot].id = 0
    } else {
      self.removeAmongDisplaced(slot)
    }
    if self.count == 0 && self.slots.count > Self.largestKept { self = StreamTable() }
  }

  @inline(never)
  private mutating func removeAmongDisplaced(_ slot: Int) {
    if self.home(self.slots[slot].id) != slot { self.displaced -= 1 }
    var hole = slot
    var next = (slot + 1) & self.mask
    while self.slots[next].id != 0 {
      let home = self.home(self.slots[next].id)
      // Whoever's home lies at or before the hole (walking round) may move into it.
      if (next &- home) & self.mask >= (next &- hole) & self.mask {
        if home == hole { self.displaced -= 1 }
        self.slots[hole] = self.slots[next]
        hole = next
      }
      next = (next + 1) & self.mask
    }
    self.slots[hole].id = 0
  }

  /// Gives the memory of an empty table back. To be called on a connection that has fallen quiet.
  mutating func trim() {
    if self.count == 0 && self.slots.count > Self.smallest { self = StreamTable() }
  }

  /// Calls `body` with every open stream.
  mutating func updateEach(_ body: (inout StreamState) -> Void) {
    for slot in self.slots.indices where self.slots[slot].id != 0 {
      body(&self.slots[slot])
    }
  }

  /// Puts a stream where there is room; returns how far from its home that is.
  @inline(__always)
  private mutating func place(_ stream: StreamState) -> Int {
    let home = self.home(stream.id)
    var slot = home
    while self.slots[slot].id != 0 { slot = (slot + 1) & self.mask }
    self.slots[slot] = stream
    if slot != home { self.displaced += 1 }
    return (slot &- home) & self.mask
  }

  @inline(never)
  private mutating func resize(to capacity: Int) {
    let old = self.slots
    self.slots = ContiguousArray(repeating: StreamState(), count: capacity)
    self.mask = capacity - 1
    self.displaced = 0
    for stream in old where stream.id != 0 { _ = self.place(stream) }
  }
}
