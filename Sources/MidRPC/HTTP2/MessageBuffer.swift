/// The bytes of a call's messages that have come and are not dealt with yet.
struct MessageBuffer {
  /// What the array itself and its place in a table take, about.
  private static let overhead = 64

  private var bytes: [UInt8] = []
  private var start = 0

  /// How many there are.
  var count: Int { self.bytes.count - self.start }

  /// What it takes in memory, in bytes: at most four times what it holds, and a little.
  var memory: Int { self.bytes.capacity == 0 ? 0 : self.bytes.capacity + Self.overhead }

  mutating func append(_ data: UnsafeRawBufferPointer) {
    self.bytes.append(contentsOf: data)
  }

  /// Calls `body` with the bytes; valid only during the call.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    self.bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[self.start...])) }
  }

  /// Removes bytes from the front. The others move once there are fewer of them than of those that were removed: so a
  /// byte moves once for each that goes, and one byte of the next message does not keep the memory of the last.
  mutating func removeFirst(_ count: Int) {
    self.start += count
    if self.start >= self.bytes.count {
      self.bytes = []
      self.start = 0
    } else if self.start > self.count {
      self.bytes = Array(self.bytes[self.start...])
      self.start = 0
    }
  }
}
