import Foundation
package import MidCore
import NIOPosix
import Synchronization

/// What the data folder remembers of each tag between two runs: the end of the highest range that this node received.
///
/// A database that came back from a backup, or a replica that lost a commit, hands out ids again that are in use. A node
/// that was running finds that out by itself; with this file, one that was restarted does so too.
///
/// Calls are safe from any thread, and never block; those that come while the disk is busy are written together.
package final class SegmentMarks: Sendable {
  private struct Pending {
    var ends: [Tag: Int64] = [:]
    var waiting: [CheckedContinuation<IDError?, Never>] = []
    var isWriting = false
  }

  /// The marks as they were found at the start.
  package let found: [Tag: Int64]
  private let pending = Mutex(Pending())
  /// Locked only by the one write under way.
  private let file: Mutex<SegmentMarkFile>

  /// Takes over a file.
  package init(_ file: sending SegmentMarkFile) {
    self.found = file.ends
    self.file = Mutex(file)
  }

  /// Remembers durably that ids of `tag` below `end` were received.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` where the disk does not take it; what was remembered before stands.
  package func set(_ end: Int64, of tag: Tag) async throws(IDError) {
    let error = await withCheckedContinuation { continuation in
      let mustWrite = self.pending.withLock { pending in
        pending.ends[tag] = end
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
        defer { pending = Pending(isWriting: true) }
        return pending
      }
      guard let work else { return }
      let result = self.file.withLock { file in
        Result { () throws(IDError) in try file.set(work.ends) }
      }
      let error: IDError? = if case .failure(let error) = result { error } else { nil }
      for each in work.waiting { each.resume(returning: error) }
    }
  }
}

/// The file of ``SegmentMarks``: lines `checksum mark end tag`, the last one of a tag counting. One that a power cut has torn
/// is left out.
///
/// It is written anew at the start, and whenever it has grown to several times of what it needs. Not safe for concurrent
/// calls.
package final class SegmentMarkFile {
  /// The file's path.
  package let path: String
  /// What it holds.
  package private(set) var ends: [Tag: Int64]
  private var lines = 0
  private var descriptor: Int32 = -1

  /// Reads the file in `folder`, which is there, and begins it anew. Blocks.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where it can't be read or written.
  package init(folder: String) throws(IDError) {
    self.path = "\(folder)/segments.state"
    self.ends = try Self.read(self.path)
    do throws(IDError) { try self.compact() } catch {
      throw IDError(.storeRejected, "\(error.message); set data.directory to a writable folder")
    }
  }

  deinit { if self.descriptor >= 0 { close(self.descriptor) } }

  /// Stores the ends of some tags durably. Blocks for the time of an fsync.
  ///
  /// - Throws: ``IDError/Code/storeUnavailable`` where the disk does not take them.
  package func set(_ ends: [Tag: Int64]) throws(IDError) {
    let new = ends.filter { self.ends[$0.key] != $0.value }
    guard !new.isEmpty else { return }
    // A write that failed may have left half a line, which would spoil the next one.
    if self.descriptor < 0 { try self.compact() }
    let text = Array(new.map { Self.line($0.value, $0.key) }.joined().utf8)
    guard write(self.descriptor, text, text.count) == text.count, fsync(self.descriptor) == 0 else {
      let error = self.unwritable
      close(self.descriptor)
      self.descriptor = -1
      throw error
    }
    self.ends.merge(new) { $1 }
    self.lines += new.count
    if self.lines > 4 * self.ends.count + 1000 { try self.compact() }
  }

  /// Writes a new file with one line a tag, and puts it in the old one's place.
  private func compact() throws(IDError) {
    let new = "\(self.path).new"
    let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw self.unwritable }
    let text = Array(self.ends.map { Self.line($0.value, $0.key) }.joined().utf8)
    guard write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0, rename(new, self.path) == 0 else {
      let error = self.unwritable
      close(descriptor)
      throw error
    }
    if self.descriptor >= 0 { close(self.descriptor) }
    self.descriptor = descriptor
    self.lines = self.ends.count
  }

  private var unwritable: IDError {
    IDError(.storeUnavailable, "can't write \(self.path): \(String(cString: strerror(errno)))")
  }

  private static func line(_ end: Int64, _ tag: Tag) -> String {
    let body = "mark \(end) \(tag.name)"
    return "\(String(self.checksum(body), radix: 16)) \(body)\n"
  }

  /// What the file at `path` holds; nothing where there is none.
  static func read(_ path: String) throws(IDError) -> [Tag: Int64] {
    guard FileManager.default.fileExists(atPath: path) else { return [:] }
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw IDError(.storeRejected, "can't read \(path); let this user read it")
    }
    var ends: [Tag: Int64] = [:]
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
      guard words.count == 4, words[1] == "mark", let end = Int64(words[2]),
        String(self.checksum(words[1...].joined(separator: " ")), radix: 16) == words[0]
      else { continue }
      do throws(IDError) { ends[try Tag(String(words[3]))] = end } catch {
        // Not a name that a tag can have: nobody asks for it.
      }
    }
    return ends
  }

  /// FNV-1a, 64 bits: enough to tell a torn line from a whole one.
  private static func checksum(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
