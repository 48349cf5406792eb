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
      _ = try WorkerStateFile(folder: folder ?? self.folder.path, wish: .fixed(7))
      return nil
    } catch {
      return error
    }
  }

  /// Writes states with the bounds 1 to `count`, and closes the file.
  private func fill(_ count: Int64) throws -> WorkerState {
    let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
    for bound in 1...count {
      var state = file.state
      state.memory.bound = bound
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
    let token = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7)).state.token
    #expect(token.count == 32 && token.allSatisfy { $0.isHexDigit })
    for count in 1...5 {
      let last = WorkerState(
        token: token,
        memory: WorkerMemory(worker: 7, term: Int64(count), isClaiming: count.isMultiple(of: 2), bound: .max))
      do {
        let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
        for bound in 0..<Int64(count) { try file.write(WorkerState(token: token, memory: WorkerMemory(bound: bound))) }
        try file.write(last)
        #expect(file.state == last)
      }
      #expect(try WorkerStateFile(folder: self.folder.path, wish: .fixed(7)).state == last)
    }
  }

  @Test(arguments: 2...5) func `falls back to the state before a torn one`(count: Int64) throws {
    let last = try self.fill(count)
    let slot = try self.slot(of: count)
    try self.change { $0[$0.startIndex + slot * 4096 + 60] ^= 1 }
    var before = last
    before.memory.bound = count - 1
    let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
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
      let file = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7))
      let error = try #require(self.openingError())
      #expect(error.code == .storeRejected)
      #expect(error.message.contains("another process uses worker id 7") && error.message.contains("--worker-id"))
      // Another worker's file in the same folder is nobody else's business.
      #expect(try WorkerStateFile(folder: self.folder.path, wish: .fixed(8)).state.token != file.state.token)
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
    _ = try WorkerStateFile(folder: deep, wish: .fixed(7))
    #expect(FileManager.default.fileExists(atPath: deep + "worker-7.state"))
  }

  @Test func `a line with one character changed is no line`() throws {
    let state = WorkerState(
      token: "0123456789abcdef0123456789abcdef",
      memory: WorkerMemory(worker: 7, term: 12, isClaiming: true, bound: 1_700_000))
    let line = Array(state.line.utf8)
    #expect(WorkerState(line: state.line, worker: nil) == state)
    for index in line.indices {
      for bit in 0..<7 {
        var torn = line
        torn[index] ^= 1 << bit
        let text = String(decoding: torn, as: UTF8.self)
        #expect(WorkerState(line: text, worker: nil) == nil, "byte \(index), bit \(bit)")
      }
    }
    for length in 0..<line.count {
      let text = String(decoding: line.prefix(length), as: UTF8.self)
      #expect(WorkerState(line: text, worker: nil) == nil, "cut after \(length)")
    }
  }

  @Test func `a file of the first version is read, as that of its worker`() throws {
    let old =
      "1 mid-worker 1 token=0123456789abcdef0123456789abcdef term=12 claiming=0 bound=1700 row=1800 asked=1900 "
      + "sum=SUM\n"
    let body = old.dropFirst(2).prefix { $0 != "\n" }.replacingOccurrences(of: " sum=SUM", with: "")
    let sum = body.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    let text = old.replacingOccurrences(of: "SUM", with: String(sum, radix: 16))
    try Data(text.utf8).write(to: URL(fileURLWithPath: self.path))
    let state = try WorkerStateFile(folder: self.folder.path, wish: .fixed(7)).state
    #expect(state.memory == WorkerMemory(worker: 7, term: 12, bound: 1700, rowBound: 1800, askedBound: 1900))
  }

  @Test func `one file serves all ids that may be leased`() throws {
    do {
      let file = try WorkerStateFile(folder: self.folder.path, wish: .any(0...9))
      #expect(file.path == self.folder.path + "/worker.state" && file.state.memory.worker == nil)
      var state = file.state
      state.memory.worker = 5
      try file.write(state)
      let error = #expect(throws: IDError.self) {
        try WorkerStateFile(folder: self.folder.path, wish: .any(3...4))
      }
      #expect(error?.message.contains("another process uses") == true)
      #expect(error?.message.contains("data.directory") == true)
    }
    #expect(try WorkerStateFile(folder: self.folder.path, wish: .any(0...3)).state.memory.worker == 5)
  }
}
