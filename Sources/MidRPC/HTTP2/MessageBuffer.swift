/// The bytes of a call's messages that have come and are not dealt with yet.
struct MessageBuffer {
  private var bytes: [UInt8] = []
  private var start = 0

  /// How many there are.
  var count: Int { self.bytes.count - self.start }

  mutating func append(_ data: UnsafeRawBufferPointer) {
    self.bytes.append(contentsOf: data)
  }

  /// Calls `body` with the bytes; valid only during the call.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    self.bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[self.start...])) }
  }

  /// Removes bytes from the front. Those behind move only now and then, so that many small messages cost no more than
  /// their bytes.
  mutating func removeFirst(_ count: Int) {
    self.start += count
    if self.start >= self.bytes.count {
      self.bytes.removeAll(keepingCapacity: self.bytes.capacity <= 4096)
      self.start = 0
    } else if self.start > 16 * 1024 {
      self.bytes.removeFirst(self.start)
      self.start = 0
    }
  }
}
