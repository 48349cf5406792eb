#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Standard output with a buffer of its own, so that a million lines are a few hundred writes.
///
/// Nothing is written unless ``flush()`` is called, or the buffer is full.
struct OutputBuffer: ~Copyable {
  /// Why a write failed.
  enum Failure: Error, CustomStringConvertible {
    /// The reader has gone: `mid next -n 1000000 | head`. Not worth a word.
    case closed
    /// Anything else, by `errno`.
    case system(Int32)

    var description: String {
      switch self {
      case .closed: "standard output is closed"
      case .system(let code): "can't write to standard output: \(String(cString: strerror(code)))"
      }
    }
  }

  private static let capacity = 64 * 1024
  private let descriptor: Int32
  private var pending: [UInt8] = []

  /// Creates a buffer in front of an open file descriptor, 1 by default. Does not close it.
  init(descriptor: Int32 = STDOUT_FILENO) {
    self.descriptor = descriptor
    self.pending.reserveCapacity(Self.capacity + 64)
  }

  /// Adds a line.
  mutating func line(_ text: String) throws(Failure) {
    self.pending.append(contentsOf: text.utf8)
    try self.endLine()
  }

  /// Adds a line with a number.
  mutating func line(_ number: Int64) throws(Failure) {
    if number < 0 { self.pending.append(0x2d) }
    let start = self.pending.count
    var rest = number.magnitude
    repeat {
      self.pending.append(UInt8(0x30 + rest % 10))
      rest /= 10
    } while rest > 0
    self.pending[start...].reverse()
    try self.endLine()
  }

  private mutating func endLine() throws(Failure) {
    self.pending.append(0x0a)
    if self.pending.count >= Self.capacity { try self.flush() }
  }

  /// Writes what is left.
  mutating func flush() throws(Failure) {
    let descriptor = self.descriptor
    // SAFETY: the pointer is used within the closure only, and always with the length that is left behind it.
    let failure: Failure? = self.pending.withUnsafeBytes { bytes in
      var offset = 0
      while offset < bytes.count {
        let written = write(descriptor, bytes.baseAddress?.advanced(by: offset), bytes.count - offset)
        if written >= 0 {
          offset += written
        } else if errno == EPIPE {
          return .closed
        } else if errno == EAGAIN {
          var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          poll(&wait, 1, -1)
        } else if errno != EINTR {
          return .system(errno)
        }
      }
      return nil
    }
    self.pending.removeAll(keepingCapacity: true)
    if let failure { throw failure }
  }
}
