import Foundation
package import MidCore
import NIOPosix
import Synchronization

/// What the data folder remembers of each tag between two runs: the end of the highest range that this node received, and
/// where several databases share the tag, the last number it had of each one's row.
///
/// A database that came back from a backup, or a replica that lost a commit, hands out ids again that are in use. A node
/// that was running finds that out by itself; with this file, one that was restarted does so too.
///
/// Calls are safe from any thread, and never block; those that come while the disk is busy are written together.
package final class SegmentMarks: Sendable {
  private struct Pending {
    var marks = StripedStore.Marks()
    var waiting: [CheckedContinuation<IDError?, Never>] = []
    var isWriting = false
    /// What this run has set last, written or not.
    var ends: [Tag: Int64] = [:]
  }

  /// The marks as they were found at the start.
  package let found: StripedStore.Marks
  private let pending = Mutex(Pending())
  /// Locked only by the one write under way.
  private let file: Mutex<SegmentMarkFile>

  /// Takes over a file.
  package init(_ file: sending SegmentMarkFile) {
    self.found = file.marks
    self.file = Mutex(file)
  }

  /// Remembers durably that ids of `tag` below `end` were received.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` where the disk does not take it; what was remembered before stands.
  package func set(_ end: Int64, of tag: Tag) async throws(IDError) {
    try await self.change(tag) { _ in end }
  }

  /// Remembers durably that ids of `tag` from `end` on go back, those below `rest` that is; where more was received
  /// meanwhile, that stands.
  ///
  /// - Throws: As ``set(_:of:)``.
  package func lower(to end: Int64, givingBackBelow rest: Int64, of tag: Tag) async throws(IDError) {
    try await self.change(tag) { now in (now ?? .min) <= rest ? end : nil }
  }

  /// Remembers durably that ids of `tag` below `end` were received after all; where more was received meanwhile, that
  /// stands.
  ///
  /// - Throws: As ``set(_:of:)``.
  package func raise(to end: Int64, of tag: Tag) async throws(IDError) {
    try await self.change(tag) { now in (now ?? .min) < end ? end : nil }
  }

  private func change(_ tag: Tag, _ end: @Sendable (Int64?) -> Int64?) async throws(IDError) {
    try await self.write { pending in
      guard let end = end(pending.ends[tag] ?? self.found.ends[tag]) else { return }
      pending.ends[tag] = end
      pending.marks.ends[tag] = end
    }
  }

  /// Remembers durably that numbers of `tag` up to `last` were had of the row in `database`.
  ///
  /// - Throws: As ``set(_:of:)``.
  package func set(_ last: Int64, of tag: Tag, in database: String) async throws(IDError) {
    try await self.write { $0.marks.rows[tag, default: [:]][database] = last }
  }

  private func write(_ change: @Sendable (inout Pending) -> Void) async throws(IDError) {
    let error = await withCheckedContinuation { continuation in
      let mustWrite = self.pending.withLock { pending in
        change(&pending)
        pending.waiting.append(continuation)
        defer { pending.isWriting = true }
        return !pending.isWriting
      }
      if mustWrite { NIOThreadPool.singleton.submit { _ in self.write() } }
    }
    if let error { throw error }
  }

  /// Writes until nothing is left to write. On a thread that may block.
  private func write() {
    while true {
      let work = self.pending.withLock { pending -> Pending? in
        guard !pending.waiting.isEmpty else {
          pending.isWriting = false
          return nil
        }
        defer { pending = Pending(isWriting: true, ends: pending.ends) }
        return pending
      }
      guard let work else { return }
      let result = self.file.withLock { file in
        Result { () throws(IDError) in try file.set(work.marks) }
      }
      let error: IDError? = if case .failure(let error) = result { error } else { nil }
      for each in work.waiting { each.resume(returning: error) }
    }
  }
}

/// The file of ``SegmentMarks``: lines `checksum mark end tag` and `checksum row last database tag`, the last one counting.
/// One that a power cut has torn is left out. A database's name has its spaces and line ends in percent.
///
/// It is written anew at the start, and whenever it has grown to several times of what it needs. Not safe for concurrent
/// calls.
package final class SegmentMarkFile {
  /// The file's path.
  package let path: String
  /// What it holds.
  package private(set) var marks: StripedStore.Marks
  private var lines = 0
  private var descriptor: Int32 = -1

  /// Reads the file in `folder`, which is there, and begins it anew. Blocks.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where it can't be read or written.
  package init(folder: String) throws(IDError) {
    self.path = "\(folder)/segments.state"
    self.marks = try Self.read(self.path)
    do throws(IDError) { try self.compact() } catch {
      throw IDError(.storeRejected, "\(error.message); set data.directory to a writable folder")
    }
  }

  deinit { if self.descriptor >= 0 { close(self.descriptor) } }

  /// Stores the marks of some tags durably. Blocks for the time of an fsync.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` where the disk does not take them.
  package func set(_ marks: StripedStore.Marks) throws(IDError) {
    let new = marks.difference(from: self.marks)
    let lines = Self.lines(new)
    guard !lines.isEmpty else { return }
    // A write that failed may have left half a line, which would spoil the next one.
    if self.descriptor < 0 { try self.compact() }
    let text = Array(lines.joined().utf8)
    guard write(self.descriptor, text, text.count) == text.count, fsync(self.descriptor) == 0 else {
      let error = self.unwritable
      close(self.descriptor)
      self.descriptor = -1
      throw error
    }
    self.marks.merge(new)
    self.lines += lines.count
    if self.lines > 4 * self.marks.count + 1000 { try self.compact() }
  }

  /// Writes a new file with one line a tag, and puts it in the old one's place.
  private func compact() throws(IDError) {
    let new = "\(self.path).new"
    let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw self.unwritable }
    let text = Array(Self.lines(self.marks).joined().utf8)
    guard write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0, rename(new, self.path) == 0 else {
      let error = self.unwritable
      close(descriptor)
      throw error
    }
    self.syncFolder()
    if self.descriptor >= 0 { close(self.descriptor) }
    self.descriptor = descriptor
    self.lines = self.marks.count
  }

  /// The name must be durable too: after a power cut it could lead to the old file, without what was written to the new one.
  private func syncFolder() {
    let folder = open(URL(fileURLWithPath: self.path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
    guard folder >= 0 else { return }
    fsync(folder)
    close(folder)
  }

  private var unwritable: IDError {
    IDError(.storeUnavailable, "can't write \(self.path): \(String(cString: strerror(errno)))")
  }

  private static func lines(_ marks: StripedStore.Marks) -> [String] {
    var lines = marks.ends.map { tag, end in self.line("mark \(end) \(tag.name)") }
    for (tag, rows) in marks.rows {
      lines += rows.map { database, last in self.line("row \(last) \(self.oneWord(database)) \(tag.name)") }
    }
    return lines
  }

  private static func line(_ body: String) -> String { "\(String(self.checksum(body), radix: 16)) \(body)\n" }

  private static let notInNames = CharacterSet(charactersIn: "% \n\r").inverted

  private static func oneWord(_ name: String) -> String {
    name.addingPercentEncoding(withAllowedCharacters: self.notInNames) ?? name
  }

  /// What the file at `path` holds; nothing where there is none.
  static func read(_ path: String) throws(IDError) -> StripedStore.Marks {
    guard FileManager.default.fileExists(atPath: path) else { return StripedStore.Marks() }
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw IDError(.storeRejected, "can't read \(path); let this user read it")
    }
    var marks = StripedStore.Marks()
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let halves = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
      guard halves.count == 2, String(self.checksum(String(halves[1])), radix: 16) == halves[0] else { continue }
      let isRow = halves[1].hasPrefix("row ")
      let words = halves[1].split(separator: " ", maxSplits: isRow ? 3 : 2, omittingEmptySubsequences: false)
      guard words.count == (isRow ? 4 : 3), isRow || words[0] == "mark", let number = Int64(words[1]),
        let name = words.last
      else { continue }
      do throws(IDError) {
        let tag = try Tag(String(name))
        guard isRow else {
          marks.ends[tag] = number
          continue
        }
        let database = String(words[2])
        marks.rows[tag, default: [:]][database.removingPercentEncoding ?? database] = number
      } catch {
        // Not a name that a tag can have: nobody asks for it.
      }
    }
    return marks
  }

  /// FNV-1a, 64 bits: enough to tell a torn line from a whole one.
  private static func checksum(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
  }
}

extension StripedStore.Marks {
  /// How many lines they are.
  fileprivate var count: Int { self.rows.values.reduce(self.ends.count) { $0 + $1.count } }

  /// What is not the same in `other`.
  fileprivate func difference(from other: Self) -> Self {
    Self(
      ends: self.ends.filter { other.ends[$0.key] != $0.value },
      rows: Dictionary(
        uniqueKeysWithValues: self.rows.map { tag, rows in
          (tag, rows.filter { other.rows[tag]?[$0.key] != $0.value })
        }))
  }

  fileprivate mutating func merge(_ other: Self) {
    self.ends.merge(other.ends) { $1 }
    for (tag, rows) in other.rows { self.rows[tag, default: [:]].merge(rows) { $1 } }
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
