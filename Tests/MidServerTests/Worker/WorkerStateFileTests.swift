import Foundation
import MidCore
import Testing

@testable import MidServer

/// A folder of its own that goes away with the test.
final class TemporaryFolder: Sendable {
  let path: String

  init() throws {
    self.path = NSTemporaryDirectory() + "mid-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
  }

  deinit {
    do { try FileManager.default.removeItem(atPath: self.path) } catch { Issue.record(error) }
  }
}

@Suite("The worker's state file") struct WorkerStateFileTests {
  private let folder: TemporaryFolder

  init() throws { self.folder = try TemporaryFolder() }

  private var path: String { self.folder.path + "/worker-7.state" }

  /// The error that opening throws.
  private func openingError(_ folder: String? = nil) -> IDError? {
    do throws(IDError) {
      _ = try WorkerStateFile(folder: folder ?? self.folder.path, worker: 7)
      return nil
    } catch {
      return error
    }
  }

  /// Writes states with the bounds 1 to `count`, and closes the file.
  private func fill(_ count: Int64) throws -> WorkerState {
    let file = try WorkerStateFile(folder: self.folder.path, worker: 7)
    for bound in 1...count {
      var state = file.state
      state.bound = bound
      try file.write(state)
    }
    return file.state
  }

  private func change(_ body: (inout Data) -> Void) throws {
    let url = URL(fileURLWithPath: self.path)
    var data = try Data(contentsOf: url)
    body(&data)
    try data.write(to: url)
  }

  /// In which slot the state with this bound lies.
  private func slot(of bound: Int64) throws -> Int {
    let data = try Data(contentsOf: URL(fileURLWithPath: self.path))
    let found = try #require(data.range(of: Data(" bound=\(bound) ".utf8)))
    return found.lowerBound / 4096
  }

  @Test func `holds what was written last, over any number of writes`() throws {
    let token = try WorkerStateFile(folder: self.folder.path, worker: 7).state.token
    #expect(token.count == 32 && token.allSatisfy { $0.isHexDigit })
    for count in 1...5 {
      let last = WorkerState(token: token, term: Int64(count), isClaiming: count.isMultiple(of: 2), bound: .max)
      do {
        let file = try WorkerStateFile(folder: self.folder.path, worker: 7)
        for bound in 0..<Int64(count) { try file.write(WorkerState(token: token, bound: bound)) }
        try file.write(last)
        #expect(file.state == last)
      }
      #expect(try WorkerStateFile(folder: self.folder.path, worker: 7).state == last)
    }
  }

  @Test(arguments: 2...5) func `falls back to the state before a torn one`(count: Int64) throws {
    let last = try self.fill(count)
    let slot = try self.slot(of: count)
    try self.change { $0[$0.startIndex + slot * 4096 + 60] ^= 1 }
    var before = last
    before.bound = count - 1
    let file = try WorkerStateFile(folder: self.folder.path, worker: 7)
    #expect(file.state == before)
    // The next write must go where the torn one is, and count as the newer.
    try file.write(last)
    #expect(try self.slot(of: count) == slot && self.slot(of: count - 1) == 1 - slot)
  }

  @Test func `refuses a file without a whole state, and leaves it as it is`() throws {
    _ = try self.fill(3)
    try self.change { data in
      for slot in 0..<2 { data[data.startIndex + slot * 4096 + 60] ^= 1 }
    }
    let torn = try Data(contentsOf: URL(fileURLWithPath: self.path))
    let error = try #require(self.openingError())
    #expect(error.code == .storeRejected && error.message.contains(self.path))
    #expect(try Data(contentsOf: URL(fileURLWithPath: self.path)) == torn)
  }

  @Test func `is held by one opener at a time`() throws {
    do {
      let file = try WorkerStateFile(folder: self.folder.path, worker: 7)
      let error = try #require(self.openingError())
      #expect(error.code == .storeRejected)
      #expect(error.message.contains("another process uses worker id 7") && error.message.contains("--worker-id"))
      // Another worker's file in the same folder is nobody else's business.
      #expect(try WorkerStateFile(folder: self.folder.path, worker: 8).state.token != file.state.token)
    }
    #expect(self.openingError() == nil)
  }

  @Test func `says what to do where it can't write`() throws {
    let file = self.folder.path + "/a-file"
    try Data().write(to: URL(fileURLWithPath: file))
    let isNoFolder = try #require(self.openingError(file))
    #expect(isNoFolder.code == .storeRejected && isNoFolder.message.contains("set data.directory"))
    let cannotBeMade = try #require(self.openingError("/proc/none/of/this"))
    #expect(cannotBeMade.code == .storeRejected && cannotBeMade.message.contains("set data.directory"))
    #expect(cannotBeMade.message.contains("/proc/none"))
  }

  @Test func `makes the folders that are missing`() throws {
    let deep = self.folder.path + "/a/b//c/"
    _ = try WorkerStateFile(folder: deep, worker: 7)
    #expect(FileManager.default.fileExists(atPath: deep + "worker-7.state"))
  }

  @Test func `a line with one character changed is no line`() throws {
    let state = WorkerState(token: "0123456789abcdef0123456789abcdef", term: 12, isClaiming: true, bound: 1_700_000)
    let line = Array(state.line.utf8)
    #expect(WorkerState(line: state.line) == state)
    for index in line.indices {
      for bit in 0..<7 {
        var torn = line
        torn[index] ^= 1 << bit
        #expect(WorkerState(line: String(decoding: torn, as: UTF8.self)) == nil, "byte \(index), bit \(bit)")
      }
    }
    for length in 0..<line.count {
      #expect(WorkerState(line: String(decoding: line.prefix(length), as: UTF8.self)) == nil, "cut after \(length)")
    }
  }
}
