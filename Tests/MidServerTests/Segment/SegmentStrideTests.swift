import MidCore
import MidTestKit
import Synchronization
import Testing

@testable import MidServer

/// Tags that several databases share: the distance between ids comes from the tag's row.
@Suite("The directory of tags, with a delta") struct SegmentStrideTests {
  private let directory: SegmentDirectory

  init() throws {
    self.directory = try SegmentDirectory(
      settings: SegmentSettings(), maximumWaiting: 3, clock: ManualClock(wallMilliseconds: 1_700_000_000_000),
      onLoadNeeded: { _, _ in }, onRefreshNeeded: {})
  }

  private func generator(of tag: Tag, delta: Int64) throws -> SegmentGenerator {
    let residue = try #require(TableDialect.Residue(delta: delta, remainder: delta - 1))
    self.directory.refreshed([TableDialect(.tinyid).record(tag, maxID: 0, step: 30, residue)])
    guard case .found(let generator) = self.directory.generator(for: tag, completion: { _ in }) else {
      throw IDError(.unknownTag, "\(tag)")
    }
    return generator
  }

  @Test func `ids lie as far apart as the row says`() throws {
    let generator = try self.generator(of: Tag("orders"), delta: 3)
    #expect(generator.snapshot.step == 10)
    #expect(generator.loaded(IDRange(start: 2, count: 10, stride: 3)) == nil)
    #expect((0..<10).compactMap { _ in generator.next() } == Array(stride(from: Int64(2), through: 29, by: 3)))
    #expect(generator.next() == nil)
  }

  @Test func `a default tag with a delta is refused, saying why, and gives out nothing`() throws {
    let generator = try self.generator(of: .default, delta: 3)
    let answer = Mutex<Result<[IDRange], IDError>?>(nil)
    _ = generator.enqueue(count: 1) { result in answer.withLock { $0 = result } }
    _ = generator.loaded(IDRange(start: 2, count: 10, stride: 3))
    let error = #expect(throws: IDError.self) { try answer.withLock { $0 }?.get() }
    #expect(error?.code == .storeRejected)
    #expect(error?.message.contains("that of 'default' has to be 1") == true)
    #expect(generator.next() == nil)
  }

  @Test func `a delta that changes while a node runs is refused, and gives out nothing`() throws {
    let generator = try self.generator(of: Tag("orders"), delta: 3)
    _ = generator.loaded(IDRange(start: 1, count: 10, stride: 2))
    #expect(generator.next() == nil)
    #expect(generator.snapshot.lastError?.code == .storeRejected)
  }
}
