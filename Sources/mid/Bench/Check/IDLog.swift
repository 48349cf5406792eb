/// Every id that one connection was given, packed: one to three bytes for an id, a few for a range of neighbours.
///
/// Taking an id in costs a few nanoseconds and never a pause: no sorting, and no copying when it grows. Ids of one
/// connection come nearly in order; a small window puts neighbours that were swapped in order again, and what is left is
/// a number of sorted runs, which ``DuplicateSearch`` merges after the run.
struct IDLog: Sendable {
  /// Ids `first` to `last`, both included.
  struct Entry: Sendable, Hashable {
    var first: Int64
    var last: Int64
  }

  /// A sorted part of the log.
  struct Run: Sendable {
    /// Where it begins.
    var chunk: Int
    var offset: Int
    /// How many entries it has.
    var entries: Int
    /// What the first entry's distance counts from.
    var base: Int64
  }

  /// Entries that wait for those that should stand before them.
  private static let windowSize = 256
  /// What a run costs in memory, during the run and the search.
  private static let runBytes = 128

  private(set) var chunks: [[UInt8]] = []
  private(set) var runs: [Run] = []
  /// The ids that are in the log.
  private(set) var logged = 0
  /// The ids that found no room in it.
  private(set) var missed = 0

  private let limit: Int
  /// The memory that it takes.
  private(set) var bytes = 0
  private var window: [Entry] = []
  private var lastFirst: Int64 = .max

  /// Creates an empty log that takes at most about `limit` bytes.
  init(limit: Int) {
    self.limit = limit
    self.window.reserveCapacity(Self.windowSize)
  }

  /// Takes in `first` to `last`; both positive, the second not below the first.
  @inline(__always)
  mutating func append(_ first: Int64, _ last: Int64) {
    guard self.bytes < self.limit else {
      self.missed += Int(last - first) + 1
      return
    }
    self.logged += Int(last - first) + 1
    let end = self.window.count - 1
    if end >= 0, self.window[end].last < first {
      if self.window[end].last == first - 1 {
        self.window[end].last = last
        return
      }
      self.window.append(Entry(first: first, last: last))
    } else {
      self.insert(Entry(first: first, last: last))
    }
    if self.window.count >= Self.windowSize { self.write(Self.windowSize / 2) }
  }

  /// Writes what still waits. To be called once, after the last id.
  mutating func finish() {
    self.write(self.window.count)
    self.window = []
  }

  /// Puts an entry among those that wait, which stay sorted by their first id. Overlaps stay as they are: they are found
  /// by the search.
  @inline(never)
  private mutating func insert(_ entry: Entry) {
    var place = self.window.count
    while place > 0, self.window[place - 1].first > entry.first { place -= 1 }
    // Nothing is added to an id: a server may send the largest that there is.
    if place > 0, self.window[place - 1].last == entry.first - 1 {
      self.window[place - 1].last = entry.last
    } else {
      self.window.insert(entry, at: place)
    }
  }

  private mutating func write(_ count: Int) {
    for entry in self.window.prefix(count) {
      if self.chunks.isEmpty
        || self.chunks[self.chunks.count - 1].capacity - self.chunks[self.chunks.count - 1].count < 20
      {
        var chunk: [UInt8] = []
        chunk.reserveCapacity(Self.chunkSize(self.chunks.count))
        self.bytes += chunk.capacity
        self.chunks.append(chunk)
      }
      let chunk = self.chunks.count - 1
      if self.runs.isEmpty || entry.first < self.lastFirst {
        self.runs.append(Run(chunk: chunk, offset: self.chunks[chunk].count, entries: 0, base: entry.first))
        self.bytes += Self.runBytes
        self.lastFirst = entry.first
      }
      self.runs[self.runs.count - 1].entries += 1
      // The distance to the entry before, and in the lowest bit whether a number of further ids follows.
      let more = UInt64(entry.last - entry.first)
      Self.append(UInt64(entry.first - self.lastFirst) << 1 | (more > 0 ? 1 : 0), to: &self.chunks[chunk])
      if more > 0 { Self.append(more, to: &self.chunks[chunk]) }
      self.lastFirst = entry.first
    }
    self.window.removeFirst(count)
  }

  /// How large the chunk of this number is: small at first, for runs with many connections, and never so large that taking
  /// it would be a pause.
  static func chunkSize(_ index: Int) -> Int { 4096 << min(index, 8) }

  private static func append(_ number: UInt64, to chunk: inout [UInt8]) {
    var rest = number
    while rest >= 0x80 {
      chunk.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest &>>= 7
    }
    chunk.append(UInt8(truncatingIfNeeded: rest))
  }
}

extension IDLog {
  /// Reads a run's entries from the first to the last.
  struct Cursor {
    private let chunks: [[UInt8]]
    private var chunk: Int
    private var bytes: [UInt8]
    private var offset: Int
    private var left: Int
    private var base: Int64

    init(_ log: IDLog, _ run: Run) {
      self.chunks = log.chunks
      self.chunk = run.chunk
      self.bytes = log.chunks[run.chunk]
      self.offset = run.offset
      self.left = run.entries
      self.base = run.base
    }

    /// The next entry, or nil at the end.
    mutating func next() -> Entry? {
      guard self.left > 0 else { return nil }
      self.left -= 1
      // An entry never goes over the end of a chunk.
      while self.offset >= self.bytes.count {
        self.chunk += 1
        self.bytes = self.chunks[self.chunk]
        self.offset = 0
      }
      let distance = self.number()
      let more = distance & 1 == 1 ? self.number() : 0
      self.base += Int64(distance >> 1)
      return Entry(first: self.base, last: self.base + Int64(more))
    }

    private mutating func number() -> UInt64 {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while true {
        let byte = self.bytes[self.offset]
        self.offset += 1
        value |= UInt64(byte & 0x7f) &<< shift
        if byte < 0x80 { return value }
        shift += 7
      }
    }
  }
}
