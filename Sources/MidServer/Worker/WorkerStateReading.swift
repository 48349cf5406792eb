package import MidCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A data folder's worker state as seen from outside, while a server may be running on the folder.
package struct WorkerStateReading: Sendable, Hashable {
  /// The file's path.
  package var path: String
  /// What the file holds, or nil where a server is about to write it for the first time.
  package var state: WorkerState?
  /// The file's own number in its file system, which is part of the owner's token.
  package var number: UInt64
  /// Whether a server is running on the folder.
  package var isLocked: Bool

  /// Creates a reading.
  package init(path: String, state: WorkerState?, number: UInt64, isLocked: Bool) {
    self.path = path
    self.state = state
    self.number = number
    self.isLocked = isLocked
  }

  /// The token of the owner that a server on this folder is in the store, on the machine named `host`; nil without a
  /// ``state``.
  package func ownerToken(host: String) -> String? {
    self.state.map { "\($0.token).\(self.number)@\(host)" }
  }

  /// Reads the file that a server with `wish` keeps in `folder`. Makes nothing, and keeps no server out, whether it runs
  /// or is just starting: the lock is only looked at, by asking for a shared one that is let go at once. Blocks.
  ///
  /// - Returns: nil where there is no such file.
  /// - Throws: ``IDError/Code/storeRejected`` where it can't be read, or holds no worker state.
  package static func read(folder: String, wish: WorkerWish) throws(IDError) -> WorkerStateReading? {
    let worker: Int64? = if case .fixed(let worker) = wish { worker } else { nil }
    let path = "\(folder)/\(worker.map { "worker-\($0).state" } ?? "worker.state")"
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw IDError(.storeRejected, "can't read \(path): \(SystemError.text(errno))")
    }
    defer { close(descriptor) }
    let isLocked = flock(descriptor, LOCK_SH | LOCK_NB) != 0
    if !isLocked { flock(descriptor, LOCK_UN) }
    var bytes = [UInt8](repeating: 0, count: 16_384)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    guard count >= 0 else { throw IDError(.storeRejected, "can't read \(path): \(SystemError.text(errno))") }
    let state = Self.latest(in: String(decoding: bytes.prefix(count), as: UTF8.self), worker: worker)
    guard state != nil || count == 0 else {
      throw IDError(.storeRejected, "\(path) holds no worker state that can be read")
    }
    return WorkerStateReading(
      path: path, state: state, number: try WorkerStateFile.number(ofFile: path), isLocked: isLocked)
  }

  /// The state that was written last: the slots are lines padded with blanks, a serial number first. A line that a server
  /// is just writing is torn and left out, and the one before it counts.
  static func latest(in text: String, worker: Int64?) -> WorkerState? {
    let found = text.split(separator: "\n").compactMap { line -> (serial: UInt64, state: WorkerState)? in
      let line = line.drop { $0 == " " }
      guard let space = line.firstIndex(of: " "), let serial = UInt64(line[..<space]),
        let state = WorkerState(line: line[line.index(after: space)...], worker: worker)
      else { return nil }
      return (serial, state)
    }
    return found.max { $0.serial < $1.serial }?.state
  }
}
