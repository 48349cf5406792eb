import Foundation
package import MidCore

/// What the data folder keeps of the worker id between two runs.
package struct WorkerState: Sendable, Hashable {
  /// The owner token of this folder: 32 hexadecimal digits, made once.
  package var token: String
  /// The worker id and its bounds.
  package var memory: WorkerMemory

  /// Creates a state.
  package init(token: String, memory: WorkerMemory = WorkerMemory()) {
    self.token = token
    self.memory = memory
  }

  /// One line of text with a checksum at its end.
  var line: String {
    let memory = self.memory
    let body =
      "mid-worker 2 token=\(self.token) worker=\(memory.worker.map { "\($0)" } ?? "none") term=\(memory.term) "
      + "claiming=\(memory.isClaiming ? 1 : 0) bound=\(memory.bound) row=\(memory.rowBound) asked=\(memory.askedBound)"
    return "\(body) sum=\(String(Self.checksum(body), radix: 16))"
  }

  /// Reads a line; nil where it is torn or not one.
  ///
  /// - Parameter worker: whose file it is, for lines of version 1, which do not say.
  init?(line: some StringProtocol, worker: Int64?) {
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    guard let last = words.last, last.hasPrefix("sum=") else { return nil }
    let body = words.dropLast().joined(separator: " ")
    guard String(Self.checksum(body), radix: 16) == last.dropFirst("sum=".count) else { return nil }
    var fields: [Substring: Substring] = [:]
    for word in body.split(separator: " ").dropFirst(2) {
      let parts = word.split(separator: "=", maxSplits: 1)
      if parts.count == 2 { fields[parts[0]] = parts[1] }
    }
    guard let token = fields["token"], let claiming = fields["claiming"],
      let term = fields["term"].flatMap({ Int64($0) }), let bound = fields["bound"].flatMap({ Int64($0) }),
      let row = fields["row"].flatMap({ Int64($0) }), let asked = fields["asked"].flatMap({ Int64($0) })
    else { return nil }
    let isFirstVersion = body.hasPrefix("mid-worker 1 ")
    guard isFirstVersion || body.hasPrefix("mid-worker 2 ") else { return nil }
    self.init(
      token: String(token),
      memory: WorkerMemory(
        worker: isFirstVersion ? worker : fields["worker"].flatMap { Int64($0) }, term: term,
        isClaiming: claiming == "1", bound: bound, rowBound: row, askedBound: asked))
  }

  /// FNV-1a, 64 bits: enough to tell a torn line from a whole one.
  private static func checksum(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
  }
}

/// The file a node keeps its ``WorkerState`` in: two slots written in turn, so that a torn write leaves the one before.
///
/// Held with a lock while it is open, so that two processes on one folder are found out. Not safe for concurrent calls.
package final class WorkerStateFile {
  private static let slotSize = 4096

  /// The file's path.
  package let path: String
  private let descriptor: Int32
  private var nextSlot = 0
  private var serial: UInt64 = 0
  /// What the file holds.
  package private(set) var state: WorkerState
  /// The file's own number in its file system. A copy of the folder, or one put back from a backup, has another, and so
  /// counts as another owner.
  package let number: UInt64

  /// Opens the file for `wish` in `folder`, one for each fixed worker id and one for all others, and makes folder and file where they are missing. Blocks.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` with what to do: the folder can't be written, the file is not ours, or
  ///   another process holds it.
  package init(folder: String, wish: WorkerWish) throws(IDError) {
    try Self.makeFolder(folder)
    let worker: Int64? = if case .fixed(let worker) = wish { worker } else { nil }
    self.path = "\(folder)/\(worker.map { "worker-\($0).state" } ?? "worker.state")"
    self.descriptor = open(self.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard self.descriptor >= 0 else {
      throw IDError(
        .storeRejected, "can't write \(self.path): \(Self.reason()); set data.directory to a writable folder")
    }
    guard Self.lock(self.descriptor) else {
      close(self.descriptor)
      throw IDError(
        .storeRejected,
        worker.map {
          "another process uses worker id \($0) in \(folder); give each its own --worker-id, or its own data.directory"
        } ?? "another process uses \(self.path); give each its own data.directory")
    }
    self.state = WorkerState(token: Self.makeToken())
    self.number = try Self.number(ofFile: self.path)
    guard let found = try Self.read(self.descriptor, path: self.path, worker: worker) else {
      // The descriptor is closed by deinit, which runs also where an initialiser throws after its last property is set.
      throw IDError(.storeRejected, "\(self.path) holds no worker state that can be read; see docs before removing it")
    }
    if let latest = found.max(by: { $0.serial < $1.serial }) {
      self.state = latest.state
      self.serial = latest.serial
      self.nextSlot = 1 - latest.slot
    } else {
      try self.write(self.state)
      // The name must be durable too, or a power cut could take token and bound together.
      let directory = open(folder, O_RDONLY | O_CLOEXEC)
      if directory >= 0 {
        fsync(directory)
        close(directory)
      }
    }
  }

  deinit { close(self.descriptor) }

  /// Stores `state` durably. Blocks for the time of an fdatasync.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` where the disk does not take it; the state before then stands.
  package func write(_ state: WorkerState) throws(IDError) {
    var line = Array("\(self.serial + 1) \(state.line)\n".utf8)
    line += [UInt8](repeating: UInt8(ascii: " "), count: max(0, Self.slotSize - line.count))
    let offset = off_t(self.nextSlot * Self.slotSize)
    guard pwrite(self.descriptor, line, line.count, offset) == line.count, fsync(self.descriptor) == 0 else {
      throw IDError(.storeUnavailable, "can't write \(self.path): \(Self.reason())")
    }
    self.serial += 1
    self.nextSlot = 1 - self.nextSlot
    self.state = state
  }

  /// Locks the file, unless another server has it. Whoever only looks holds a shared lock for a moment, which is waited out:
  /// two seconds at most, as one that looks may be made to wait in the middle of it where the machine is busy. A lock that
  /// was let go is held for a moment more by a child that its process is just starting, and is waited for, too.
  private static func lock(_ descriptor: Int32) -> Bool {
    var refusals = 0
    for _ in 0..<2000 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
      // Refused beside a server's lock, granted beside a look's.
      if flock(descriptor, LOCK_SH | LOCK_NB) == 0 {
        flock(descriptor, LOCK_UN)
        refusals = 0
      } else {
        refusals += 1
        guard refusals < 200 else { return false }
      }
      usleep(1000)
    }
    return false
  }

  /// The number of the file at `path` in its file system.
  static func number(ofFile path: String) throws(IDError) -> UInt64 {
    do {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      if let number = attributes[.systemFileNumber] as? NSNumber { return number.uint64Value }
    } catch {
      throw IDError(.storeRejected, "can't read \(path): \(error)")
    }
    throw IDError(.storeRejected, "\(path) is on a file system without file numbers; set data.directory to another")
  }

  /// The slots that hold a whole line; nil where the file has contents and none of them is one.
  private static func read(
    _ descriptor: Int32, path: String, worker: Int64?
  ) throws(IDError) -> [(state: WorkerState, serial: UInt64, slot: Int)]? {
    var found: [(state: WorkerState, serial: UInt64, slot: Int)] = []
    var isEmpty = true
    for slot in 0..<2 {
      var bytes = [UInt8](repeating: 0, count: Self.slotSize)
      let count = pread(descriptor, &bytes, bytes.count, off_t(slot * Self.slotSize))
      // What can't be read is not an empty file: taken for one, the bound would be forgotten.
      guard count >= 0 else { throw IDError(.storeRejected, "can't read \(path): \(Self.reason())") }
      if count > 0 { isEmpty = false }
      let text = String(decoding: bytes.prefix(count), as: UTF8.self)
      let line = text.prefix { $0 != "\n" }
      guard let space = line.firstIndex(of: " "), let serial = UInt64(line[..<space]),
        let state = WorkerState(line: line[line.index(after: space)...], worker: worker)
      else { continue }
      found.append((state, serial, slot))
    }
    return found.isEmpty && !isEmpty ? nil : found
  }

  private static func makeFolder(_ folder: String) throws(IDError) {
    var path = folder.hasPrefix("/") ? "/" : ""
    for part in folder.split(separator: "/") {
      path += (path.isEmpty || path.hasSuffix("/") ? "" : "/") + part
      if mkdir(path, 0o700) != 0 && errno != EEXIST {
        throw IDError(.storeRejected, "can't make the folder \(folder): \(Self.reason()); set data.directory")
      }
    }
  }

  private static func makeToken() -> String {
    var random = SystemRandomNumberGenerator()
    return (0..<4).map { _ in
      let part = String(UInt32.random(in: 0 ... .max, using: &random), radix: 16)
      return String(repeating: "0", count: 8 - part.count) + part
    }.joined()
  }

  private static func reason() -> String { String(cString: strerror(errno)) }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
